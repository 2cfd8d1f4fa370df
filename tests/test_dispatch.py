"""The choice of a backend: costs that were measured, and reasons for what cannot run."""

import json
import re
import sys
import types

import numpy as np
import pytest
from cuda_backends import emulated, needs_compiler

import fastseg
from fastseg import costs, dispatch
from fastseg.costs import Calibration, Costs
from fastseg.kernels.backend import Problem
from fastseg.kernels.cuda import CudaBackend
from fastseg.kernels.cuda import backend as cuda

LARGE = Problem(10**8, 3, 8, "float32")
SMALL = Problem(10**3, 3, 8, "float32")


@pytest.fixture
def calibrated(tmp_path, monkeypatch):
    """A file of made-up costs: one backend starts quickly, the other one is quick later."""
    monkeypatch.setenv("FASTSEG_CALIBRATION", str(tmp_path / "costs" / "calibration.json"))
    quick = Costs(0.0, 0.0, 1e-9, 0.0, 1e-9, 1e-10)
    late = Costs(9.0, 0.5, 1e-11, 1e-11, 1e-11, 1e-12)
    calibration = Calibration(costs.machine(), {"cpu": quick, "cuda": late})
    monkeypatch.setattr(dispatch, "_used", {"cpu", "cuda"})
    path = costs.save_calibration(calibration)
    assert costs.load_calibration() == calibration
    return path


@pytest.fixture
def usable_cuda(monkeypatch):
    monkeypatch.setattr(CudaBackend, "unavailable", lambda self: None)


def test_without_measured_costs_the_cpu_is_the_default():
    choice = dispatch.choose_backend(LARGE)
    assert (choice.backend.name, choice.reason) == ("cpu", "the default: not calibrated")


def test_the_least_cost_decides(calibrated, usable_cuda):
    assert dispatch.choose_backend(SMALL).backend.name == "cpu"
    choice = dispatch.choose_backend(LARGE)
    assert choice.backend.name == "cuda"
    assert choice.reason.startswith("the least of the expected times: cpu ")
    many = Problem(10**8, 3, 5000, "float32")
    choice = dispatch.choose_backend(many)
    assert choice.backend.name == "cpu"
    assert "cuda: it takes up to 4096 clusters, and 5000 are asked for" in choice.reason


def test_what_the_first_use_costs_counts_once(calibrated, usable_cuda, monkeypatch):
    monkeypatch.setattr(dispatch, "_used", {"cpu"})
    assert dispatch.choose_backend(LARGE).backend.name == "cpu"
    assert dispatch.choose_backend(LARGE, "cuda").reason == "asked for"
    assert dispatch.choose_backend(LARGE).backend.name == "cuda"


def test_costs_add_up():
    parts = Costs(first=100.0, start=1.0, count=2.0, send=3.0, visit=5.0, distance=7.0)
    assert parts.seconds(Problem(10, 3, 4, "uint8")) == 1 + 10 * 2
    assert parts.seconds(Problem(10, 1, 4, "uint16"), used=False) == 100 + 1 + 10 * 2
    assert parts.seconds(Problem(10, 3, 4, "float32")) == 1 + 10 * (12 * 3 + 20 * (5 + 12 * 7))


def test_a_backend_that_is_gone_is_passed_over(calibrated, monkeypatch):
    monkeypatch.setattr(CudaBackend, "unavailable", lambda self: "the card was sold")
    choice = dispatch.choose_backend(LARGE)
    assert choice.backend.name == "cpu"
    assert "cuda: the card was sold" in choice.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"version": 0}', "of another version or machine"),
    ],
)
def test_a_calibration_that_does_not_fit_is_not_used(calibrated, usable_cuda, text, reason):
    calibrated.write_text(text)
    choice = dispatch.choose_backend(LARGE)
    assert choice.backend.name == "cpu"
    assert reason in choice.reason


@pytest.mark.parametrize("cost", ['"quick"', "null", "NaN", "Infinity", "-1", "1" + 400 * "0"])
def test_a_calibration_of_costs_that_are_none_is_not_used(calibrated, usable_cuda, cost):
    text = calibrated.read_text()
    calibrated.write_text(text.replace('"first": 9.0', f'"first": {cost}'))
    assert calibrated.read_text() != text
    assert costs.load_calibration() == "the calibration cannot be read"
    calibrated.write_text(json.dumps({**json.loads(text), "costs": {}}))
    assert costs.load_calibration() == "the calibration cannot be read"


def test_costs_of_another_machine_are_not_used(calibrated, usable_cuda, monkeypatch):
    monkeypatch.setattr(costs, "machine", lambda: "another one")
    assert dispatch.choose_backend(LARGE).backend.name == "cpu"


def test_costs_do_not_survive_another_gpu(calibrated, tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "DRIVER", tmp_path)
    gpu = tmp_path / "gpus" / "0000:00:05.0"
    gpu.mkdir(parents=True)
    (gpu / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 27\n")
    assert costs.machine().endswith(" processors, NVIDIA H100 80GB HBM3")
    costs.save_calibration(Calibration(costs.machine(), {"cpu": Costs(0, 0, 0, 0, 0, 0)}))
    assert isinstance(costs.load_calibration(), Calibration)
    (gpu / "information").write_text("Model: \t\t NVIDIA A100-SXM4-40GB\n")
    assert costs.load_calibration() == "the calibration is of another version or machine"


@needs_compiler
def test_costs_are_measured_on_every_backend(monkeypatch):
    assert costs.first_use("cpu") > 0  # it imports Numba
    monkeypatch.setattr(costs, "first_use", lambda name: 7.0)
    backends = {"cpu": dispatch.backend_named("cpu"), "cuda": emulated()[0]}
    measured = costs.calibrate(backends, n_points=2000)
    assert list(measured.costs) == ["cpu", "cuda"]
    for found in measured.costs.values():
        assert found.first == 7.0
        assert found.start > 0
        assert found.seconds(SMALL) > found.start


class FakeRuntime(types.SimpleNamespace):
    CUDARuntimeError = type("CUDARuntimeError", (RuntimeError,), {})


def fake_cupy(driver=13000, n_devices=1, capability="90", error=None, compiler=(13, 0)):
    def version():
        if isinstance(compiler, Exception):
            raise compiler
        return compiler

    def count():
        if error is not None:
            raise FakeRuntime.CUDARuntimeError(error)
        return n_devices

    runtime = FakeRuntime(
        driverGetVersion=lambda: driver,
        getDeviceCount=count,
        getDeviceProperties=lambda number: {"name": b"Some GPU"},
    )
    device = types.SimpleNamespace(id=0, compute_capability=capability)
    module = types.ModuleType("cupy")
    nvrtc = types.SimpleNamespace(getVersion=version)
    module.cuda = types.SimpleNamespace(runtime=runtime, Device=lambda: device, nvrtc=nvrtc)
    return module


class TestReasons:
    @pytest.mark.parametrize(
        ("machine", "reason"),
        [
            ({"driver": 0}, "there is no NVIDIA driver; install one"),
            ({"n_devices": 0}, "no CUDA device is visible; see nvidia-smi"),
            (
                {"capability": "61"},
                "the device Some GPU has compute capability 6.1, and at least 7.5 is needed; use a",
            ),
            (
                {"compiler": ImportError("libnvrtc.so.12: cannot open shared object file")},
                r"CuPy does not find NVIDIA's compiler NVRTC \(libnvrtc.so.12: cannot open shared"
                r" object file\); install it with fastseg\[cuda12\]",
            ),
            (
                {"error": "cudaErrorNoDevice: no CUDA-capable device is detected"},
                "no CUDA device is visible; see nvidia-smi",
            ),
            (
                {"error": "cudaErrorInsufficientDriver: CUDA driver version is insufficient"},
                r"the driver is too old for this CuPy; update it or install fastseg\[cuda12\]",
            ),
            (
                {"error": "cudaErrorInitializationError: initialization error"},
                "the CUDA driver cannot be used in this process, as after a fork",
            ),
            (
                {"error": "cudaErrorUnknown"},
                r"the CUDA driver does not answer \(cudaErrorUnknown\); see nvidia-smi",
            ),
        ],
    )
    def test_why_cuda_cannot_be_used(self, monkeypatch, machine, reason):
        monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: name)
        monkeypatch.setitem(sys.modules, "cupy", fake_cupy(**machine))
        with pytest.raises(ValueError, match=f"backend='cuda' cannot run this: {reason}") as told:
            fastseg.segment(np.eye(4), 2, backend="cuda")
        assert re.search("install|update|use |see |start processes", str(told.value))

    def test_nothing_stands_against_a_device_that_is_new_enough(self, monkeypatch):
        monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: name)
        monkeypatch.setitem(sys.modules, "cupy", fake_cupy(capability="75"))
        assert CudaBackend().unavailable() is None

    def test_without_cupy_the_extra_is_named(self, monkeypatch):
        monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"CuPy is not installed; install fastseg\[cuda12\]"):
            fastseg.segment(np.eye(4), 2, backend="cuda")
        assert "cuda12" in fastseg.available_backends()["cuda"]

    def test_a_broken_cupy_is_told_of(self, monkeypatch):
        monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: name)
        monkeypatch.setitem(sys.modules, "cupy", None)
        assert "CuPy cannot be imported" in CudaBackend().unavailable()

    def test_clusters_and_types_beyond_the_kernels(self):
        backend = CudaBackend()
        assert "4096" in backend.reason_against(Problem(10**6, 3, 4097, "uint8"))
        assert "complex64" in backend.reason_against(Problem(10**6, 3, 2, "complex64"))
        assert backend.reason_against(Problem(10**6, 3, 4096, "uint8")) is None
