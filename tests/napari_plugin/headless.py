"""napari without a screen on Linux: what the system must have, and OpenGL to draw with.

Qt's offscreen platform has no OpenGL, without which napari cannot add a layer. Mesa has one
that draws in memory: a context of EGL's "surfaceless" platform, made current before napari
starts, is what vispy then finds.
"""

import ctypes
import os

# What Qt and napari load that pip cannot install, and Debian's package of each.
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libxkbcommon.so.0": "libxkbcommon0",
}
SURFACELESS = 0x31DD
OPENGL_API = 0x30A2
# EGL_SURFACE_TYPE: 0, EGL_RENDERABLE_TYPE: EGL_OPENGL_BIT, EGL_NONE
ATTRIBUTES = (0x3033, 0, 0x3040, 8, 0x3038)


class Missing(Exception):
    """The system lacks something that pip cannot install."""


def choose_platform():
    """Tell Qt and PyOpenGL to do without a screen; to be called before they are imported."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("QT_QPA_OFFSCREEN_NO_GLX", "1")
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")


def require_libraries():
    """Raise `Missing` with the names of all shared libraries that are not there."""
    missing = [name for name in LIBRARIES if not loads(name)]
    if missing:
        packages = " ".join(LIBRARIES[name] for name in missing)
        raise Missing(
            f"napari cannot be tested, the system lacks {', '.join(missing)};"
            f" on Debian or Ubuntu: apt-get install {packages}"
        )


def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def make_context_current():
    """Make an OpenGL context that needs no window current in this thread, for good."""
    egl = ctypes.CDLL("libEGL.so.1")
    pointer = ctypes.c_void_p
    egl.eglGetPlatformDisplay.restype = egl.eglCreateContext.restype = pointer
    display = pointer(egl.eglGetPlatformDisplay(SURFACELESS, None, None))
    config, found = pointer(), ctypes.c_int()
    attributes = (ctypes.c_int * len(ATTRIBUTES))(*ATTRIBUTES)
    context = None
    if egl.eglInitialize(display, None, None) and egl.eglBindAPI(OPENGL_API):
        egl.eglChooseConfig(display, attributes, ctypes.byref(config), 1, ctypes.byref(found))
        if found.value:
            context = egl.eglCreateContext(display, config, None, None)
    if not context or not egl.eglMakeCurrent(display, None, None, pointer(context)):
        raise Missing(
            "napari cannot be tested, EGL finds no OpenGL that draws without a screen (error"
            f" {egl.eglGetError():#x}); on Debian or Ubuntu: apt-get install libegl-mesa0"
            " libgl1-mesa-dri"
        )
