"""The CPU backend: Numba kernels on our own threads."""

from .backend import CpuBackend

__all__ = ["CpuBackend"]
