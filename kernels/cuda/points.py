"""Points on a GPU: the protocol over the CUDA kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import DTYPES, Farthest, FloatArray, Partials, Sampler, Tick
from .centers import FEW, ManyCenters, few_centers
from .device import NULL, Device, DeviceArray, OutOfMemory
from .sampler import DeviceSampler, host_sampler
from .source import defines
from .transfer import Feed, Outbox, dtype_of, usable

# Above this many features a loop over features replaces the unrolled code.
MAX_UNROLLED = 16

# Shared memory of a block; every device has 48 KiB without asking.
_SHARED_BYTES = 40 * 2**10
_FEW_THREADS, _MANY_THREADS = 128, 256
_BLOCKS_PER_MULTIPROCESSOR = 8

# Pieces of a row of sums each, in groups that the device adds: see rows.cuh.
_GROUP = 64
_MAX_GROUPS = 64
_MAX_SUMS = 2**18
_MIN_PIECE, _MAX_PIECE = 2**10, 2**18

# Points that are labelled at once, while the labels before them travel.
_LABEL_CHUNK = 2**23


def compiled_for(dtype: np.dtype[Any], n_features: int) -> tuple[str, ...]:
    """Options that the kernels on points are compiled with."""
    return defines(
        POINT=dtype.name,
        INTEGER=int(dtype.kind in "iu"),
        N_FEATURES=n_features if n_features <= MAX_UNROLLED else 0,
    )


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
        return -(-self.n_pieces // _GROUP)

    @classmethod
    def of(cls, n: int, n_features: int, n_clusters: int, integers: bool) -> Plan:
        """Plan for points whose sums fit into 32 bits piece by piece, or do not."""
        n_sums = n_clusters * (n_features + 1)
        sum_bytes = 4 if integers else 8
        kernel, n_threads, shared = ("accumulate_many.cu", "accumulate_owned"), _MANY_THREADS, 0
        own = n_sums * sum_bytes * _FEW_THREADS
        if own <= _SHARED_BYTES and n_clusters * n_features <= FEW:
            name = "accumulate_int32" if integers else "accumulate_float64"
            kernel, n_threads, shared = ("accumulate.cu", name), _FEW_THREADS, own
        elif integers and n_sums * sum_bytes <= _SHARED_BYTES:
            kernel, shared = ("accumulate_many.cu", "accumulate_shared"), n_sums * sum_bytes
        n_groups = min(max(_MAX_SUMS // (n_sums + 1), 1), _MAX_GROUPS)
        piece = -(-n // (n_groups * _GROUP))
        piece = min(max(-(-piece // _MIN_PIECE) * _MIN_PIECE, _MIN_PIECE), _MAX_PIECE)
        return cls(kernel, n_threads, shared, piece, -(-n // piece), n_sums + 1)


class CudaPoints:
    """Points on a device, or sent there chunk by chunk."""

    def __init__(
        self, device: Device, values: Any, weights: Any | None, repeated: bool, n_threads: int
    ) -> None:
        self.device = device
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
        plan = Plan.of(n, d, k, self.dtype.kind in "iu" and self.weights is None)
        file, name = plan.kernel
        many = ManyCenters(self.device, centers) if file == "accumulate_many.cu" else None
        argument = few_centers(centers) if many is None else many.argument
        rows, tickets, sums = self._scratch_for(plan)
        try:
            step = -(-self._chunk_rows() // plan.piece) * plan.piece
            for start, stop, chunk in self.feed.chunks(step, plan.piece):
                n_blocks = -(-(stop - start) // plan.piece)
                self.device.launch(
                    (file, self.options, name),
                    min(n_blocks, self._max_blocks()),
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
            far = Farthest.of(
                size,
                self.device.to_host(chunk[0]),
                self.device.to_host(chunk[1]) if len(chunk) > 1 else None,
                self.device.to_host(labels),
                self.device.to_host(distances),
                self.repeated,
            )
            total = far if total is None else total.merge(far)
            if tick is not None:
                tick(stop, self.n_points)
        assert total is not None
        return total

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
        many = ManyCenters(self.device, centers)
        kernel = ("assign.cu", self.options, f"assign_{np.dtype(dtype).name}")
        direct = target is not None and usable(self.device, target)
        beside = np.dtype(dtype).itemsize + 8 * distances
        for start, stop, chunk in self.feed.chunks(_LABEL_CHUNK, beside=beside):
            n = stop - start
            found = target[start:stop] if direct else self.device.empty((n,), dtype)
            far = self.device.empty((n,), np.float64) if distances else NULL
            self.device.launch(
                kernel,
                min(-(-n // 1024), 2 * self._max_blocks()),
                256,
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

    def _max_blocks(self) -> int:
        return self.device.n_multiprocessors * _BLOCKS_PER_MULTIPROCESSOR
