"""The CUDA backend: .cu kernels compiled at run time, by CuPy."""

from .backend import CudaBackend

__all__ = ["CudaBackend"]
