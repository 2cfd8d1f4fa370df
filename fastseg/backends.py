"""The table of backends: those of this package, and those that others register.

Another package registers one as an entry point of the group ``fastseg.backends``: a name,
and what gives the backend when it is called without arguments. Entry points are looked up
when a name is not one of ours, or when all are listed, and never else.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from .kernels.backend import Backend
from .kernels.forking import unforked

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "fastseg.backends"

# In the order in which they are told of; the first one needs nothing but this package.
_BUILT_IN = {"cpu": ("kernels.cpu", "CpuBackend"), "cuda": ("kernels.cuda", "CudaBackend")}
BUILT_IN = tuple(_BUILT_IN)

_METHODS = ("unavailable", "reason_against", "counter", "put")


@cache
def _registered() -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points of other packages by their names, more than one of which clash."""
    from importlib.metadata import entry_points

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=GROUP):
        others = found.get(entry.name, ())
        if entry.value not in {other.value for other in others}:  # one found on two paths
            found[entry.name] = (*others, entry)
    return found


def backend_names() -> tuple[str, ...]:
    """Names of all backends, this package's first."""
    others = sorted(name for name in _registered() if name not in ("auto", *BUILT_IN))
    return (*BUILT_IN, *others)


def is_registered(name: str) -> bool:
    """Whether there is a backend of that name."""
    return name in BUILT_IN or name in backend_names()


def refused_backends() -> dict[str, str]:
    """Entry points that no name can choose, and why."""
    return {
        f"{name} of {_package(entry)}": (
            f"the name {name!r} is fastseg's own; its package has to register another one"
        )
        for name in ("auto", *BUILT_IN)
        for entry in _registered().get(name, ())
    }


@cache
def backend_named(name: str) -> Backend:
    """Backend of one of the names of `backend_names`.

    Raises
    ------
    ValueError
        If the package that registers it is broken, or another one registers the same name.
    """
    with unforked():
        if name in _BUILT_IN:
            module, attribute = _BUILT_IN[name]
            built: Backend = getattr(import_module(f".{module}", __package__), attribute)()
            return built
        entries = _registered()[name]
        if len(entries) > 1:
            packages = " and ".join(sorted(_package(entry) for entry in entries))
            raise ValueError(f"{packages} both register it; uninstall one of them")
        return _load(entries[0])


def _load(entry: EntryPoint) -> Backend:
    try:
        backend: Backend = entry.load()()
    except Exception as error:  # a package of others raises what it likes
        words = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"its package {_package(entry)} is broken ({entry.value} raises {words}); update or"
            " uninstall it"
        ) from error
    missing = [method for method in _METHODS if not callable(getattr(backend, method, None))]
    if missing or getattr(backend, "name", None) != entry.name:
        lacks = f"{', '.join(missing)}()" if missing else f"name = {entry.name!r}"
        raise ValueError(
            f"its package {_package(entry)} is broken ({entry.value} gives no backend: it lacks"
            f" {lacks}); update or uninstall it"
        )
    return backend


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
