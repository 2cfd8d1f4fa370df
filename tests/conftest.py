"""GPU tests: skipped with a reason where there is no GPU, failing there under --gpu.

With --torture the tests of threads, forks and signals repeat what they do many times.
"""

import pytest

from fastseg.kernels.cuda import CudaBackend


def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="fail where no CUDA device can be used")
    parser.addoption("--torture", action="store_true", help="run for long what is short else")


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a CUDA device")


@pytest.fixture(autouse=True)
def no_calibration(tmp_path_factory, monkeypatch):
    """What is measured on the machine that runs the tests decides nothing in them."""
    monkeypatch.setenv("FASTSEG_CALIBRATION", str(tmp_path_factory.getbasetemp() / "none.json"))


@pytest.fixture
def times(request):
    """Number of repetitions: the first one, or under --torture the second one."""
    return lambda few, many: many if request.config.getoption("--torture") else few


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        missing = CudaBackend().unavailable()
        if missing is not None and item.config.getoption("--gpu"):
            pytest.fail(f"no GPU to test on: {missing}", pytrace=False)
        if missing is not None:
            pytest.skip(f"no GPU to test on: {missing}")
