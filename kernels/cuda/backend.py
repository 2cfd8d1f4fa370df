"""The CUDA backend: kernels compiled at run time for the current device."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import DTYPES, Counter, Problem
from ..cpu.threads import resolve_n_threads
from .counters import make_device_counter
from .cupy_device import CupyDevice
from .device import Device
from .points import CudaPoints
from .wide import MIN_FEATURES, WidePoints

MAX_CLUSTERS = 4096

# Turing: the oldest architecture that the kernels are compiled for in the tests.
_MIN_CAPABILITY = 75


_NO_DEVICE = "no CUDA device is visible; see nvidia-smi and CUDA_VISIBLE_DEVICES"


class CudaBackend:
    """Kernels on a CUDA device, the current one of CuPy.

    Parameters
    ----------
    open_device : callable, optional
        Gives the `Device` to compute on; another one than CuPy's in the tests.
    """

    name = "cuda"

    def __init__(self, open_device: Callable[[], Device] | None = None) -> None:
        self._open = open_device
        self._devices: dict[int, Device] = {}

    def unavailable(self) -> str | None:
        """See `Backend.unavailable`."""
        return None if self._open is not None else _missing()

    def reason_against(self, problem: Problem) -> str | None:
        """See `Backend.reason_against`."""
        if problem.dtype not in DTYPES:
            return f"it has no kernels for {problem.dtype}"
        if problem.n_clusters > MAX_CLUSTERS:
            return f"it takes up to {MAX_CLUSTERS} clusters, and {problem.n_clusters} are asked for"
        return None

    def counter(
        self, dtype: np.dtype[Any], n_features: int, *, n_threads: int | None = None
    ) -> Counter:
        """See `Backend.counter`."""
        return make_device_counter(self.device(), dtype, n_features, resolve_n_threads(n_threads))

    def put(
        self,
        values: Any,
        weights: Any | None = None,
        *,
        repeated: bool = False,
        n_threads: int | None = None,
    ) -> CudaPoints:
        """See `Backend.put`; the arrays may be a device's, of CuPy or by DLPack."""
        device, threads = self.device(), resolve_n_threads(n_threads)
        wide = values.shape[1] >= MIN_FEATURES and device.exact_float32
        kind = WidePoints if wide else CudaPoints
        return kind(device, values, weights, repeated, threads)

    def device(self) -> Device:
        """Device to compute on, the same object as long as it is CuPy's current one."""
        if self._open is not None:
            return self._open()
        import cupy

        number = int(cupy.cuda.Device().id)
        if number not in self._devices:
            self._devices[number] = CupyDevice()
        return self._devices[number]


def _missing() -> str | None:
    """What this machine lacks to use CUDA, and the fix, or None."""
    if importlib.util.find_spec("cupy") is None:
        return (
            "CuPy is not installed; install fastseg[cuda12] or fastseg[cuda13], as the driver's"
            " version of CUDA is (nvidia-smi shows it)"
        )
    try:
        import cupy
    except Exception as error:  # an incomplete installation raises what it likes
        return f"CuPy cannot be imported ({error}); install it anew, by fastseg[cuda12] or [cuda13]"
    runtime = cupy.cuda.runtime
    try:
        if runtime.driverGetVersion() == 0:
            return "there is no NVIDIA driver; install one, or use backend='cpu'"
        if runtime.getDeviceCount() == 0:
            return _NO_DEVICE
        no_compiler = _compiler_missing(cupy)
        if no_compiler is not None:
            return no_compiler
        device = cupy.cuda.Device()
        capability = int(device.compute_capability)
        if capability >= _MIN_CAPABILITY:
            return None
        # To ask for it takes longer than a small image.
        name = runtime.getDeviceProperties(device.id)["name"].decode()
    except runtime.CUDARuntimeError as error:
        return _in_words(error)
    return (
        f"the device {name} has compute capability {capability / 10}, and at least"
        f" {_MIN_CAPABILITY / 10} is needed; use a device of 2018 or later, or backend='cpu'"
    )


def _compiler_missing(cupy: Any) -> str | None:
    """What to do about CuPy without the compiler that it calls, or None."""
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # of the loader, which differs among versions
        return (
            f"CuPy does not find NVIDIA's compiler NVRTC ({error}); install it with"
            " fastseg[cuda12] or fastseg[cuda13]"
        )
    return None


def _in_words(error: Exception) -> str:
    """What an error of the CUDA runtime, which names itself, means to a user."""
    if "cudaErrorNoDevice" in str(error):
        return _NO_DEVICE
    if "cudaErrorInsufficientDriver" in str(error):
        return "the driver is too old for this CuPy; update it or install fastseg[cuda12]"
    if "cudaErrorInitializationError" in str(error):
        return (
            "the CUDA driver cannot be used in this process, as after a fork of one that used it;"
            " start processes by 'spawn' instead of 'fork'"
        )
    return f"the CUDA driver does not answer ({error}); see nvidia-smi, or use backend='cpu'"
