"""Tests of GPUs and of PyTorch, which is too large to install for the tests alone.

They are skipped with a reason where there is none, and fail there under --gpu or --torch.
With --torture the tests of reliability/ repeat what they do many times, and record figures.
"""

import gc
import importlib.util

import pytest

from fastseg.kernels.cuda import CudaBackend


def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="fail where no CUDA device can be used")
    parser.addoption("--torture", action="store_true", help="run for long what is short else")
    parser.addoption("--torch", action="store_true", help="fail where there is no PyTorch")


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a CUDA device")
    config.addinivalue_line("markers", "torch: needs PyTorch")


@pytest.fixture(autouse=True, scope="module")
def frozen():
    """What libraries and collected tests hold is no garbage: collections pass over it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_calibration(tmp_path_factory, monkeypatch):
    """What is measured on the machine that runs the tests decides nothing in them."""
    monkeypatch.setenv("FASTSEG_CALIBRATION", str(tmp_path_factory.getbasetemp() / "none.json"))


@pytest.fixture
def times(request):
    """Number of repetitions: the first one, or under --torture the second one."""
    return lambda few, many: many if request.config.getoption("--torture") else few


@pytest.fixture
def figure(request, record_property):
    """Record what was done many times, and what was found: rows of docs/reliability.md."""
    if request.config.getoption("--torture"):
        return record_property
    return lambda what, found: None


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        missing = CudaBackend().unavailable()
        if missing is not None and item.config.getoption("--gpu"):
            pytest.fail(f"no GPU to test on: {missing}", pytrace=False)
        if missing is not None:
            pytest.skip(f"no GPU to test on: {missing}")
    if item.get_closest_marker("torch") and importlib.util.find_spec("torch") is None:
        if item.config.getoption("--torch"):
            pytest.fail("there is no PyTorch: pip install torch", pytrace=False)
        pytest.skip("there is no PyTorch; it is tested with --torch where it is installed")


@pytest.fixture(scope="module")
def dask_cluster():
    """A scheduler, three worker processes of one thread, and nannies that start them again."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    ) as cluster:
        yield cluster
