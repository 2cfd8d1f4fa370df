"""GPU tests: skipped with a reason where there is no GPU, failing there under --gpu."""

import pytest

from fastseg.kernels.cuda import CudaBackend


def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="fail where no CUDA device can be used")


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a CUDA device")


@pytest.fixture(autouse=True)
def no_calibration(tmp_path_factory, monkeypatch):
    """What is measured on the machine that runs the tests decides nothing in them."""
    monkeypatch.setenv("FASTSEG_CALIBRATION", str(tmp_path_factory.getbasetemp() / "none.json"))


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        missing = CudaBackend().unavailable()
        if missing is not None and item.config.getoption("--gpu"):
            pytest.fail(f"no GPU to test on: {missing}", pytrace=False)
        if missing is not None:
            pytest.skip(f"no GPU to test on: {missing}")


@pytest.fixture(scope="module")
def dask_cluster():
    """A scheduler, three worker processes of one thread, and nannies that start them again."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address=None, memory_limit=0
    ) as cluster:
        yield cluster
