"""The backends that one matrix of tests runs over: CPU, CUDA emulated, and CUDA on a GPU."""

import pytest
from emulated_device import COMPILER, EmulatedDevice

from fastseg.kernels.cpu import CpuBackend
from fastseg.kernels.cuda import CudaBackend

needs_compiler = pytest.mark.skipif(
    COMPILER is None, reason="no g++, which runs the CUDA kernels where there is no GPU"
)


def emulated(**options):
    """CUDA backend whose kernels run on the CPU, and its device."""
    device = EmulatedDevice(**options)
    return CudaBackend(lambda: device), device


CUDA = [
    pytest.param(emulated()[0], id="cuda-emulated", marks=needs_compiler),
    pytest.param(CudaBackend(), id="cuda", marks=pytest.mark.gpu),
]
ALL = [pytest.param(CpuBackend(), id="cpu"), *CUDA]
