"""The choice of a backend: the only place that decides, and it says why."""

from __future__ import annotations

from dataclasses import dataclass

from .backends import BUILT_IN, backend_named, backend_names, is_registered, refused_backends
from .costs import Calibration, kept_calibration
from .kernels.backend import Backend, Problem

# Those that this process has chosen before: imported, and their kernels loaded.
_used: set[str] = set()


@dataclass(frozen=True)
class Choice:
    """A backend, and the reason for it in words."""

    backend: Backend
    reason: str


def available_backends() -> dict[str, str | None]:
    """Backends of this version and of other packages, and why one cannot be used here.

    Returns
    -------
    dict of str to (str or None)
        Name of each backend; None where it can be used on this machine, else the
        reason why it cannot. A backend of another package whose name is taken is told of
        with the name of the package.
    """
    return {name: _unavailable(name) for name in backend_names()} | refused_backends()


def _unavailable(name: str) -> str | None:
    try:
        return backend_named(name).unavailable()
    except Exception as error:
        if name in BUILT_IN:
            raise
        return str(error)


def choose_backend(problem: Problem, name: str = "auto") -> Choice:
    """Backend for a problem: the named one, or for "auto" the one that costs least time.

    What a backend costs is known where `fastseg info --calibrate` has measured it on
    this machine; without that "auto" is the CPU, and a backend of another package is
    chosen by its name alone.

    Raises
    ------
    ValueError
        If there is no backend of that name, or it cannot run, with the reason.
    """
    choice = _cheapest(problem) if name == "auto" else _named(problem, name)
    _used.add(choice.backend.name)
    return choice


def _named(problem: Problem, name: str) -> Choice:
    if not is_registered(name):
        names = ", ".join(repr(n) for n in ["auto", *backend_names()])
        raise ValueError(f"backend must be one of {names}, got {name!r}")
    against = _reason_against(problem, name)
    if against is not None:
        raise ValueError(f"backend={name!r} cannot run this: {against}")
    return Choice(backend_named(name), "asked for")


def _reason_against(problem: Problem, name: str) -> str | None:
    if problem.on_device and name != "cuda":
        return "the values are in a GPU's memory; use cupy.asnumpy, or backend='cuda'"
    return _unavailable(name) or backend_named(name).reason_against(problem)


def _cheapest(problem: Problem) -> Choice:
    if problem.on_device:
        return Choice(_named(problem, "cuda").backend, "the values are in the GPU's memory")
    calibration = kept_calibration()
    if isinstance(calibration, Calibration):
        costs = {
            n: c.seconds(problem, used=n in _used)
            for n, c in calibration.costs.items()
            if is_registered(n)
        }
        words = ", ".join(f"{n} {seconds:.2g} s" for n, seconds in costs.items())
        reasons: list[str] = []
        for name in sorted(costs, key=lambda n: costs[n]):
            against = _reason_against(problem, name)
            if against is None:
                reason = "; ".join([f"the least of the expected times: {words}", *reasons])
                return Choice(backend_named(name), reason)
            reasons.append(f"{name}: {against}")
        reason = "; ".join(reasons)
    else:
        reason = calibration
    against = _reason_against(problem, "cpu")
    if against is not None:
        raise ValueError(f"no backend can run this problem (cpu: {against})")
    return Choice(backend_named("cpu"), f"the default: {reason}")
