"""What work costs on each backend, as measured on this machine, and kept in a file."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .kernels.backend import Backend, Problem
from .kernels.cpu.threads import usable_threads

_VERSION = 1

# Where NVIDIA's driver describes itself.
DRIVER = Path("/proc/driver/nvidia")

# Passes over the points that a fit is taken to make: typical of k-means++ and Lloyd's
# iterations together, which nobody knows before.
_PASSES = 20


@dataclass(frozen=True)
class Costs:
    """Seconds of the parts of a fit on one backend.

    ``first`` of the first fit in a process, which imports and loads kernels; ``start`` of
    any fit; ``count`` of a pixel that is counted and gets its label by a
    look-up; ``send`` of a byte of points that are not counted; ``visit`` of such a point
    in each pass, and ``distance`` of it for each cluster and channel.
    """

    first: float
    start: float
    count: float
    send: float
    visit: float
    distance: float

    def seconds(self, problem: Problem, *, used: bool = True) -> float:
        """Time that a problem is expected to take, on a backend that was used before or not."""
        n, d = problem.n_points, problem.n_features
        dtype = np.dtype(problem.dtype)
        start = self.start + (0.0 if used else self.first)
        if dtype.kind in "iu" and dtype.itemsize * d <= 3:
            return start + n * self.count
        each = self.visit + problem.n_clusters * d * self.distance
        return start + n * (d * dtype.itemsize * self.send + _PASSES * each)


@dataclass(frozen=True)
class Calibration:
    """Costs of each backend on a machine."""

    machine: str
    costs: dict[str, Costs]


def machine() -> str:
    """What the costs depend on, as far as it is cheap to know."""
    import platform

    parts = [platform.node(), platform.machine(), f"{usable_threads()} processors", *gpus()]
    return ", ".join(parts)


def gpus() -> list[str]:
    """Models of the NVIDIA GPUs as Linux tells them: to ask CUDA takes as long as many a fit."""
    models = []
    for path in sorted(DRIVER.glob("gpus/*/information")):
        with contextlib.suppress(OSError):
            lines = path.read_text(errors="replace").splitlines()
            models += [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]
    return models


def calibration_path() -> Path:
    """File of the measured costs: FASTSEG_CALIBRATION, or one in the user's cache folder."""
    given = os.environ.get("FASTSEG_CALIBRATION")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "fastseg" / "calibration.json"


def load_calibration() -> Calibration | str:
    """Costs measured on this machine, or in words why there are none."""
    try:
        stored = json.loads(calibration_path().read_text())
        if stored["version"] != _VERSION or stored["machine"] != machine():
            return "the calibration is of another version or machine"
        costs = {name: _checked(parts) for name, parts in stored["costs"].items()}
        if not costs:
            raise ValueError("no costs")
    except (OSError, RuntimeError):  # no home folder is a RuntimeError
        return "not calibrated"
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError):
        return "the calibration cannot be read"
    return Calibration(stored["machine"], costs)


def kept_calibration() -> Calibration | str:
    """As `load_calibration`, without reading a file again that has not changed."""
    places = os.environ.get("FASTSEG_CALIBRATION"), os.environ.get("XDG_CACHE_HOME")
    try:
        found = os.stat(_path(*places))
        stamp = found.st_mtime_ns, found.st_ino, found.st_size
    except (OSError, RuntimeError):
        stamp = None
    return _loaded(places, stamp)


# A process stays on its machine, and its user at home.
@lru_cache(maxsize=4)
def _path(given: str | None, cache: str | None) -> str:
    return str(calibration_path())


@lru_cache(maxsize=4)
def _loaded(places: tuple[str | None, ...], stamp: tuple[int, ...] | None) -> Calibration | str:
    return load_calibration()


def _checked(parts: dict[str, Any]) -> Costs:
    costs = Costs(**{name: float(seconds) for name, seconds in parts.items()})
    if not all(math.isfinite(seconds) and seconds >= 0 for seconds in asdict(costs).values()):
        raise ValueError("costs are finite and not negative")
    return costs


def prepare_calibration() -> None:
    """Raise OSError if the costs could not be written, before they are measured."""
    from .io.atomic import check_output

    path = calibration_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    check_output(path, overwrite=True)


def save_calibration(calibration: Calibration) -> Path:
    """Write the costs, and return the file."""
    from .io.atomic import atomic_write

    path = calibration_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = {
        "version": _VERSION,
        "machine": calibration.machine,
        "costs": {name: asdict(costs) for name, costs in calibration.costs.items()},
    }
    with atomic_write(path, overwrite=True) as file:
        file.write(json.dumps(stored, indent=1).encode())
    return path


def calibrate(backends: dict[str, Backend], n_points: int = 2**22) -> Calibration:
    """Measure the costs of backends that can be used."""
    costs = {
        name: measure(backend, n_points, first_use(name)) for name, backend in backends.items()
    }
    return Calibration(machine(), costs)


def first_use(name: str) -> float:
    """Seconds by which the first use of a backend makes a process longer."""
    begin = "import numpy; from fastseg.backends import backend_named; p = numpy.ones((9, 3)); "
    use = f"backend_named({name!r}).put(p).accumulate(p[:2])"

    import subprocess
    import sys

    def work(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    return max(0.0, _seconds(work(begin + use), 3) - _seconds(work(begin), 3))


def measure(backend: Backend, n_points: int, first: float) -> Costs:
    """Costs of one backend, on made-up points and pixels of three channels."""
    rng = np.random.default_rng(0)
    points = rng.random((n_points, 3), np.float32)
    pixels = rng.normal(128, 20, (n_points, 3)).astype(np.uint8)
    few, many = points[:2].astype(np.float64), points[:66].astype(np.float64)
    start = _seconds(lambda: backend.put(points[:1000]).accumulate(few))
    resident = backend.put(points)
    short = _seconds(lambda: resident.accumulate(few)) / n_points
    long = _seconds(lambda: resident.accumulate(many)) / n_points
    distance = max(0.0, long - short) / ((len(many) - len(few)) * 3)
    put = _seconds(lambda: backend.put(points).accumulate(few))
    counted = _seconds(lambda: _count(backend, pixels))
    counted_few = _seconds(lambda: _count(backend, pixels[:1000]))
    return Costs(
        first=first,
        start=max(start, counted_few),
        count=max(0.0, counted - counted_few) / n_points,
        send=max(0.0, put - start - short * n_points) / points.nbytes,
        visit=max(0.0, short - len(few) * 3 * distance),
        distance=distance,
    )


def _count(backend: Backend, pixels: Any) -> None:
    counter = backend.counter(pixels.dtype, pixels.shape[1])
    counter.add(pixels, again=True)
    values, _ = counter.distinct()
    labels = np.empty(len(pixels), np.uint8)
    counter.look_up(pixels, np.zeros(len(values), np.uint8), labels)


def _seconds(work: Callable[[], object], runs: int = 5) -> float:
    """Median time of some runs, after one that compiles."""
    work()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[runs // 2]
