"""Does a backend give the answers that all give? For the tests of those who write one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import reference
from .backend import DTYPES, Array, Backend, FloatArray, Problem
from .cpu import CpuBackend

# Points, features, clusters: sizes that divide nothing.
_SHAPES = ((1, 1, 1), (511, 1, 4), (2049, 3, 8), (301, 33, 5), (259, 3, 130))
_SUM_ERROR = 1e-12


def check_backend(backend: Backend) -> None:
    """Check a backend against the reference, over types, shapes, weights and ties.

    Labels have to be equal, and so have sums of integers; sums of floats may differ by
    a relative error of 1e-12. It takes seconds, or as long as its kernels take to compile.

    Parameters
    ----------
    backend : Backend
        Backend that can be used on this machine.

    Raises
    ------
    AssertionError
        If an answer is wrong, with the question.
    """
    assert backend.unavailable() is None, f"it cannot be used: {backend.unavailable()}"
    checked = 0
    for dtype in DTYPES:
        for n, d, k in _SHAPES:
            if backend.reason_against(Problem(n, d, k, dtype)) is None:
                _check_points(backend, dtype, n, d, k)
                _check_counter(backend, dtype, n, d)
                checked += 1
    assert checked, (
        "reason_against() gives None for none of the problems, and so nothing is checked"
    )
    _check_ties(backend)
    _check_repeated(backend)


def _points(dtype: str, n: int, d: int) -> Array:
    rng = np.random.default_rng(n + d)
    if np.dtype(dtype).kind == "f":
        return rng.normal(3.0, 20.0, (n, d)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (n, d), endpoint=True).astype(dtype)


def _weights(n: int) -> Iterator[FloatArray | None]:
    yield None
    yield np.random.default_rng(n).integers(1, 6, n).astype(np.float64)


def _check_points(backend: Backend, dtype: str, n: int, d: int, k: int) -> None:
    values = _points(dtype, n, d)
    values.flags.writeable = False
    rng = np.random.default_rng(k)
    centers = values[rng.choice(n, k, replace=False)] + rng.normal(0, 0.1, (k, d))
    labels, distances = reference.assign(values, centers)
    for weights in _weights(n):
        of = f"{n} {dtype} points of {d} features, {k} centers, weights={weights is not None}"
        points = backend.put(values, weights)
        partials, expected = points.accumulate(centers), reference.accumulate(
            values, weights, centers
        )  # fmt: skip
        _same(partials.weights, expected.weights, f"accumulate().weights of {of}")
        exact = np.dtype(dtype).kind != "f"
        _close(partials.sums, expected.sums, f"accumulate().sums of {of}", exact=exact)
        _close(partials.inertia, expected.inertia, f"accumulate().inertia of {of}")
        _labels(points.assign(centers), labels, f"assign() of {of}")
        for kind in (np.uint8, np.uint16, np.int32):
            given = np.empty(n, kind)
            returned = points.assign(centers, labels=given, first_label=1)
            assert returned is given, f"assign() into {given.dtype} of {of} does not return it"
            _same(given, labels + 1, f"assign() into {given.dtype} of {of}")
        found, inertia = points.label(centers)
        _labels(found, labels, f"label() of {of}")
        _close(inertia, expected.inertia, f"the inertia of label() of {of}")
        others = centers[::-1] + 0.25  # which an answer that is kept would not fit
        _labels(
            points.assign(others), reference.assign(values, others)[0], f"assign() again, of {of}"
        )
        far = points.farthest(centers, 3)
        _same(far.distances, np.sort(distances)[::-1][:3], f"farthest().distances of {of}")
        _check_sampler(backend, values, weights, centers, f"sampler() of {of}")


def _check_sampler(
    backend: Backend,
    values: Array,
    weights: FloatArray | None,
    centers: FloatArray,
    of: str,
    *,
    repeated: bool = False,
) -> None:
    ours = backend.put(values, weights, repeated=repeated).sampler()
    cpu = CpuBackend().put(values, weights, repeated=repeated).sampler()
    for center in centers[:2]:
        potential = cpu.add(center)
        _close(ours.add(center), potential, f"add() of the {of}")
    _close(ours.potentials(centers), cpu.potentials(centers), f"potentials() of the {of}")
    thresholds = np.array([0.03, 0.4, 0.97]) * potential
    _same(ours.draw(thresholds), cpu.draw(thresholds), f"draw() of the {of}")


def _check_counter(backend: Backend, dtype: str, n: int, d: int) -> None:
    of = f"counter() of {n} {dtype} pixels of {d} features"
    pixels = (_points(dtype, n, d) % 5).astype(dtype)
    counter = backend.counter(pixels.dtype, d)
    for piece in (pixels[: n // 3], pixels[n // 3 :]):
        if len(piece):
            counter.add(piece)
    if counter.full or not counter.pays:
        return
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    found = counter.distinct()
    _same(found[0], values, f"the values of the {of}")
    _same(found[1], counts, f"the counts of the {of}")
    labels = np.empty(n, np.int32)
    counter.look_up(pixels, np.arange(len(values), dtype=np.int32), labels)
    _same(values[labels], pixels, f"look_up() of the {of}")


def _check_ties(backend: Backend) -> None:
    values = np.array([[2], [4], [6]], np.uint8)
    labels = backend.put(values).assign(np.array([[5.0], [3.0], [5.0]]))
    _same(labels, np.array([1, 0, 0]), "assign() where the lowest of two nearest centers wins")
    ramp = np.arange(0.0, 200.0)
    for dtype in DTYPES:
        values = np.stack([ramp, ramp[::-1], ramp], axis=1).astype(dtype)
        for off in (0.0, 2.0**-40, -(2.0**-40)):
            centers = np.array([[20.0, 0, 0], [60.0 + off, 0, 0], [20.0, 0, 0], [100.0, 0, 0]])
            expected, _ = reference.assign(values, centers)
            labels = backend.put(values).assign(centers)
            _same(labels, expected, f"assign() of {dtype} points {off} away from a tie")


def _check_repeated(backend: Backend) -> None:
    """Check points that are counted, whose sums may be large and of which one is taken."""
    values = np.array([[10], [65535]], np.uint16)
    counts = np.array([2.0**31 + 7, 1.1e9])
    points = backend.put(values, counts, repeated=True)
    partials = points.accumulate(np.array([[0.0], [6e4]]))
    _same(partials.sums, values * counts[:, None], "accumulate().sums of repeated points")
    far = points.farthest(np.array([[0.0]]), 3)
    _same(far.values, np.full((3, 1), 65535.0), "farthest() of repeated points")
    _same(far.weights, np.ones(3), "the weights of farthest() of repeated points")
    rng = np.random.default_rng(0)
    colors = np.unique(rng.integers(0, 64, (3000, 3)).astype(np.uint8), axis=0)
    weights = rng.integers(1, 9, len(colors)).astype(np.float64)
    centers = colors[[5, 700]].astype(np.float64)
    of = "sampler() of repeated points"
    _check_sampler(backend, colors, weights, centers, of, repeated=True)


def _labels(found: Array, expected: Array, what: str) -> None:
    _same(found, expected, what)
    assert found.dtype == np.int32, f"{what}: expected int32, got {found.dtype}"


def _same(found: Array, expected: Array, what: str) -> None:
    equal = np.shape(found) == np.shape(expected) and bool((found == expected).all())
    assert equal, f"{what}: expected {expected!r}, got {found!r}"


def _close(
    found: Array | float, expected: Array | float, what: str, *, exact: bool = False
) -> None:
    error = 0.0 if exact else _SUM_ERROR
    close = np.shape(found) == np.shape(expected) and np.allclose(
        found, expected, rtol=error, atol=error * 1e3
    )
    assert close, f"{what}: expected {expected!r}, got {found!r}"
