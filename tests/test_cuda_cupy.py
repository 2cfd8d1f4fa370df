"""What the CUDA backend asks of CuPy, of one that is made up: see test_cuda_device.py too."""

import sys
import types

import pytest

from fastseg.kernels.cuda.device import CupyDevice


class CupyArray:
    __cuda_array_interface__ = None

    def __init__(self, *origin):
        self.origin = origin
        self.device = FakeDevice()

    def __dlpack__(self):
        pytest.fail("CuPy's own arrays are taken as they are")


class FakeDevice:
    current = 0

    def __init__(self):
        self.id = FakeDevice.current

    def __enter__(self):
        self.before, FakeDevice.current = FakeDevice.current, self.id

    def __exit__(self, *error):
        FakeDevice.current = self.before


@pytest.fixture
def cupy(monkeypatch):
    module = types.ModuleType("cupy")
    properties = {"name": b"Some GPU", "multiProcessorCount": 2}
    module.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(getDeviceProperties=lambda number: properties),
        Device=FakeDevice,
        Stream=lambda non_blocking: None,
    )
    module.ndarray = CupyArray
    module.from_dlpack = lambda array: CupyArray("by DLPack", array)
    module.asarray = lambda array: CupyArray("by address", array)
    monkeypatch.setitem(sys.modules, "cupy", module)
    for name in ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_arrays_of_other_libraries_come_by_dlpack_where_they_can(cupy):
    device = CupyDevice()
    own = CupyArray()
    assert device.wrap(own) is own
    both = types.SimpleNamespace(__cuda_array_interface__={}, __dlpack__=None)
    assert device.wrap(both).origin == ("by DLPack", both)
    address = types.SimpleNamespace(__cuda_array_interface__={})
    assert device.wrap(address).origin == ("by address", address)


def test_products_are_asked_about_each_time(cupy, monkeypatch):
    device = CupyDevice()
    assert device.exact_float32
    asked = []
    cupy._core = types.SimpleNamespace(get_compute_type=lambda dtype: asked[-1])
    for number, exact in enumerate([True, True, True, False, True, True, False, False]):
        asked.append(number)
        assert device.exact_float32 == exact
    asked.append(4)
    monkeypatch.setenv("CUPY_TF32", "1")
    assert not device.exact_float32


def test_work_goes_to_the_device_of_the_points(cupy, monkeypatch):
    device = CupyDevice()
    used = []
    stream = types.SimpleNamespace(record=lambda: used.append(FakeDevice.current))
    cupy.cuda.get_current_stream = lambda: stream
    monkeypatch.setattr(FakeDevice, "current", 1)
    device.mark()
    assert used == [0]
    assert FakeDevice.current == 1


def test_arrays_of_another_device_are_refused(cupy, monkeypatch):
    device = CupyDevice()
    monkeypatch.setattr(FakeDevice, "current", 1)
    with pytest.raises(ValueError, match="on CUDA device 1, but work goes to device 0; use it"):
        device.wrap(CupyArray())
