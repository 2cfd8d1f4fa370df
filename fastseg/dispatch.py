"""The choice of a backend: the only place that decides, and it says why."""

from __future__ import annotations

from dataclasses import dataclass

from .kernels.backend import Backend, Problem


def _backends() -> list[Backend]:
    """All backends, the first that can run being the choice of "auto"."""
    from .kernels.cpu import CpuBackend

    return [CpuBackend()]


@dataclass(frozen=True)
class Choice:
    """A backend, and the reason for it in words."""

    backend: Backend
    reason: str


def available_backends() -> dict[str, str | None]:
    """Backends of this version, and why one cannot be used here.

    Returns
    -------
    dict of str to (str or None)
        Name of each backend; None where it can be used on this machine, else the
        reason why it cannot.
    """
    return {backend.name: backend.unavailable() for backend in _backends()}


def choose_backend(problem: Problem, name: str = "auto") -> Choice:
    """Backend for a problem: the named one, or for "auto" the first that can run.

    Raises
    ------
    ValueError
        If there is no backend of that name, or it cannot run, with the reason.
    """
    backends = _backends()
    against = {b.name: b.unavailable() or b.reason_against(problem) for b in backends}
    if name == "auto":
        usable = [b for b in backends if against[b.name] is None]
        if not usable:
            reasons = "; ".join(f"{n}: {reason}" for n, reason in against.items())
            raise ValueError(f"no backend can run this problem ({reasons})")
        others = [f"{n}: {reason}" for n, reason in against.items() if reason is not None]
        alone = (
            "the only backend of this version" if len(backends) == 1 else "the first that can run"
        )
        return Choice(usable[0], "; ".join([alone, *others]))
    for backend in backends:
        if backend.name == name:
            if against[name] is not None:
                raise ValueError(f"backend={name!r} cannot run this: {against[name]}")
            return Choice(backend, "asked for")
    names = ", ".join(repr(n) for n in ["auto", *against])
    raise ValueError(f"backend must be one of {names}, got {name!r}")
