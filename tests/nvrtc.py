"""NVIDIA's run-time compiler, called from its wheel: it needs no GPU and no driver."""

import ctypes
from functools import cache
from importlib import metadata
from pathlib import Path


@cache
def library():
    """The compiler's library, or None where its wheel is not installed."""
    for wheel in ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"):
        try:
            files = metadata.files(wheel) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith(("libnvrtc.so", "nvrtc64")) and ".alt" not in file.name:
                return ctypes.CDLL(str(Path(file.locate())))
    return None


def compile_cuda(text, name, options):
    """Compile a source for the architecture in the options; return its PTX and the log."""
    lib = library()
    program = ctypes.c_void_p()
    _check(lib.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), name.encode(), 0, None, None))  # fmt: skip
    try:
        arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        failed = lib.nvrtcCompileProgram(program, len(options), arguments)
        log = _text(program, lib.nvrtcGetProgramLogSize, lib.nvrtcGetProgramLog)
        if failed:
            raise RuntimeError(log)
        return _text(program, lib.nvrtcGetPTXSize, lib.nvrtcGetPTX), log
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _text(program, get_size, get):
    size = ctypes.c_size_t()
    _check(get_size(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(get(program, buffer))
    return buffer.value.decode()


def _check(status):
    if status:
        raise RuntimeError(f"NVRTC reports error {status}")
