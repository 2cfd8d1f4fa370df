"""Points on a GPU: the protocol over the CUDA kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import DTYPES, Array, Farthest, FloatArray, Partials, Sampler, Tick
from .centers import FEW, ManyCenters, few_centers
from .device import NULL, Device, DeviceArray, OutOfMemory
from .sampler import DeviceSampler, host_sampler
from .source import defines
from .transfer import Feed, Guest, Outbox, dtype_of, usable

# Above this many features a loop over features replaces the unrolled code.
MAX_UNROLLED = 16

# Shared memory for sums of each thread, and for one table of them; every device has 48 KiB
# without asking. Of the two kernels that take more sums the device has to say which: they
# give the same bits.
_SHARED_BYTES = 40 * 2**10
_TABLE_BYTES = 160 * 2**10
_MANY_THREADS = 256

# Pieces of a row of sums each, in groups that the device adds: see rows.cuh.
GROUP = 128
_MAX_GROUPS = 64
_MAX_SUMS = 2**17
_MIN_PIECE, _MAX_PIECE = 2**10, 2**18

# Distances of which the largest is looked for together.
_FAR_ROW = 256

# Points that are labelled at once, while the labels before them travel.
_LABEL_CHUNK = 2**23


def compiled_for(dtype: np.dtype[Any], n_features: int) -> tuple[str, ...]:
    """Options that the kernels on points are compiled with."""
    return defines(
        POINT=dtype.name,
        INTEGER=int(dtype.kind in "iu"),
        N_FEATURES=n_features if n_features <= MAX_UNROLLED else 0,
    )


_OWNED = ("accumulate_many.cu", "accumulate_owned")


@dataclass(frozen=True)
class Plan:
    """How points are cut into pieces and which kernel adds them; the device has no say."""

    kernel: tuple[str, str]
    n_threads: int
    shared_bytes: int
    piece: int
    n_pieces: int
    n_columns: int

    @property
    def n_groups(self) -> int:
        """Rows of sums that come back."""
        return -(-self.n_pieces // GROUP)

    def on(self, device: Device) -> Plan:
        """Plan with the same sums for a device that may have less shared memory."""
        if self.shared_bytes <= device.max_shared_bytes:
            return self
        return replace(self, kernel=_OWNED, shared_bytes=0)

    @classmethod
    def of(cls, n: int, n_features: int, n_clusters: int, integers: bool) -> Plan:
        """Plan for points whose sums fit into 32 bits piece by piece, or do not."""
        n_sums = n_clusters * (n_features + 1)
        sum_bytes = 4 if integers else 8
        kernel, n_threads, shared = _OWNED, _MANY_THREADS, 0
        few = n_clusters * n_features <= FEW
        for width in (128, 64):
            own = n_sums * sum_bytes * width
            if few and kernel is _OWNED and own <= _SHARED_BYTES:
                name = f"accumulate_{'int32' if integers else 'float64'}_{width}"
                kernel, n_threads, shared = ("accumulate.cu", name), width, own
        if integers and kernel is _OWNED and n_sums * sum_bytes <= _TABLE_BYTES:
            kernel, shared = ("accumulate_many.cu", "accumulate_shared"), n_sums * sum_bytes
        n_groups = min(max(_MAX_SUMS // (n_sums + 1), 1), _MAX_GROUPS)
        piece = -(-n // (n_groups * GROUP))
        piece = min(max(-(-piece // _MIN_PIECE) * _MIN_PIECE, _MIN_PIECE), _MAX_PIECE)
        return cls(kernel, n_threads, shared, piece, -(-n // piece), n_sums + 1)


class CudaPoints(Guest):
    """Points on a device, or sent there chunk by chunk."""

    def __init__(
        self, device: Device, values: Any, weights: Any | None, repeated: bool, n_threads: int
    ) -> None:
        super().__init__(device)
        self.on_device = device.owns(values)
        if self.on_device:
            values = device.wrap(values)
            if weights is not None:
                own = device.owns(weights)
                weights = device.wrap(weights) if own else device.to_device(weights)
        self.values, self.weights = values, weights
        self.n_points, self.n_features = values.shape
        self.dtype = np.dtype(values.dtype)
        if self.dtype.name not in DTYPES:
            raise TypeError(f"points must be of {', '.join(DTYPES)}, got {self.dtype}")
        if weights is not None and np.dtype(weights.dtype) != np.float64:
            raise TypeError(f"weights must be of float64, got {weights.dtype}")
        self.repeated = repeated
        self.n_threads = n_threads
        arrays = [values] if weights is None else [values, weights]
        # What is computed needs room as well.
        self.feed = Feed(device, arrays, keep=0.8)
        self.feed.load()
        self.options = compiled_for(self.dtype, self.n_features)
        self._scratch: tuple[Plan, list[DeviceArray]] | None = None

    def accumulate(self, centers: FloatArray, tick: Tick | None = None) -> Partials:
        """See `Points.accumulate`."""
        n, (k, d) = self.n_points, centers.shape
        plan = Plan.of(n, d, k, self.dtype.kind in "iu" and self.weights is None).on(self.device)
        file, name = plan.kernel
        many = None
        if file == "accumulate_many.cu":
            many = ManyCenters(self.device, centers, self.dtype)
        argument = few_centers(centers, self.dtype) if many is None else many.argument
        rows, tickets, sums = self._scratch_for(plan)
        kernel = file, self.options, name
        most = self.device.max_blocks(kernel, plan.n_threads, plan.shared_bytes)
        try:
            step = -(-self._chunk_rows() // plan.piece) * plan.piece
            for start, stop, chunk in self.feed.chunks(step, plan.piece):
                n_blocks = -(-(stop - start) // plan.piece)
                self.device.launch(
                    kernel,
                    min(n_blocks, most),
                    plan.n_threads,
                    (
                        chunk[0], chunk[1] if len(chunk) > 1 else NULL, argument,
                        np.int64(start), np.int64(stop), np.int64(n), np.int64(plan.piece),
                        np.int32(d), rows, tickets, sums,
                    ),
                    plan.shared_bytes,
                )  # fmt: skip
                if tick is not None:
                    tick(stop, n)
            total = self.device.to_host(sums).sum(axis=0)
        except BaseException:
            self._scratch = None  # its tickets may have been left half drawn
            raise
        table = total[:-1].reshape(k, d + 1)
        return Partials(
            np.ascontiguousarray(table[:, :d]),
            np.ascontiguousarray(table[:, d]),
            float(total[-1]),
        )

    def assign(
        self,
        centers: FloatArray,
        *,
        labels: Any = None,
        first_label: int = 0,
        tick: Tick | None = None,
    ) -> Any:
        """See `Points.assign`; the labels of points on a device are there too."""
        if labels is None and self.on_device:
            labels = self.device.empty((self.n_points,), np.int32)
        elif labels is None:
            labels = np.empty(self.n_points, np.int32)
        there = self.device.wrap(labels) if self.device.owns(labels) else None
        outbox = Outbox(self.device)
        dtype = dtype_of(self.device, labels)
        for start, stop, found, _ in self._labelled(centers, dtype, first_label, there):
            if there is None:
                outbox.fetch(found, labels[start:stop])
            elif not usable(self.device, there):
                self.device.copy(found, there[start:stop])
            if tick is not None:
                tick(stop, self.n_points)
        outbox.flush()
        return labels

    def label(self, centers: FloatArray, tick: Tick | None = None) -> tuple[Any, float]:
        """See `Points.label`."""
        return self.assign(centers, tick=tick), self.accumulate(centers).inertia

    def farthest(self, centers: FloatArray, size: int, tick: Tick | None = None) -> Farthest:
        """See `Points.farthest`."""
        total: Farthest | None = None
        labelled = self._labelled(centers, np.dtype(np.int32), 0, None, distances=True)
        for _, stop, labels, (chunk, distances) in labelled:
            places = self._far_places(distances, len(labels), size)
            parts = [self.device.rows(a, places) for a in (*chunk, labels, distances)]
            weights = parts[1] if len(chunk) > 1 else None
            far = Farthest.of(size, parts[0], weights, parts[-2], parts[-1], self.repeated)
            total = far if total is None else total.merge(far)
            if tick is not None:
                tick(stop, self.n_points)
        assert total is not None
        return total

    def _far_places(self, distances: DeviceArray, n: int, size: int) -> Array:
        """Places of the ``size`` largest of n distances, and of some others."""
        tops = self.device.largest(distances.reshape(-1, _FAR_ROW))
        bound = np.partition(tops, -size)[-size] if size < len(tops) else -1.0
        rows = np.flatnonzero(tops >= bound)
        places: Array = (rows[:, None] * _FAR_ROW + np.arange(_FAR_ROW)).ravel()
        return places[places < n]

    def _far(self, n: int) -> DeviceArray:
        """Room for n distances, in whole rows to look for the largest in."""
        return self.device.full((-(-n // _FAR_ROW) * _FAR_ROW,), np.float64, -1.0)

    def sampler(self) -> Sampler:
        """See `Points.sampler`."""
        # Points that do not fit are on the host, where they can be drawn from as well.
        if self.feed.resident is None:
            return host_sampler(self)
        try:
            return DeviceSampler(self)
        except OutOfMemory:
            if self.on_device:
                raise
            return host_sampler(self)

    def _labelled(
        self,
        centers: FloatArray,
        dtype: Any,
        first_label: int,
        target: Any,
        distances: bool = False,
    ) -> Any:
        """Chunks as (start, stop, their labels, (their arrays, their distances))."""
        many = ManyCenters(self.device, centers, self.dtype)
        kernel = "assign.cu", self.options, f"assign_{np.dtype(dtype).name}"
        most = self.device.max_blocks(kernel, _MANY_THREADS)
        direct = target is not None and usable(self.device, target)
        beside = np.dtype(dtype).itemsize + 8 * distances
        for start, stop, chunk in self.feed.chunks(_LABEL_CHUNK, beside=beside):
            n = stop - start
            found = target[start:stop] if direct else self.device.empty((n,), dtype)
            far = self._far(n) if distances else NULL
            self.device.launch(
                kernel,
                min(-(-n // _MANY_THREADS), most),
                _MANY_THREADS,
                (
                    chunk[0], many.argument, np.int64(0), np.int64(n),
                    np.int32(self.n_features), np.int32(first_label), found, far,
                ),
            )  # fmt: skip
            yield start, stop, found, (chunk, far)

    def _scratch_for(self, plan: Plan) -> list[DeviceArray]:
        """Rows, tickets and sums for a plan; those of the last call serve again."""
        if self._scratch is None or self._scratch[0] != plan:
            self._scratch = None
            self._scratch = (
                plan,
                [
                    self.device.empty((plan.n_pieces, plan.n_columns), np.float64),
                    self.device.full((plan.n_groups,), np.uint32, 0),
                    self.device.empty((plan.n_groups, plan.n_columns), np.float64),
                ],
            )
        return self._scratch[1]

    def _chunk_rows(self) -> int:
        return self.n_points if self.feed.resident is not None else _LABEL_CHUNK
