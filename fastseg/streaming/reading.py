"""Pixels of images that are read region by region, decoded by threads ahead of their use."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..arrays import check_finite, check_largest, native
from ..io.chunked import ChunkedImage, DamagedBlock, Region, blocks_in, cut, regions, shape_of
from ..io.image import stored_value
from ..io.threads import Threads
from ..kernels.backend import Array
from ..kernels.tasks import Task
from ..memory import ENGINE_BYTES, MEBIBYTE, release_freed
from ..pixels import Pixels, both, check_kept, those_kept
from ..progress import Progress

# Bytes a pixel takes beside its values, as stored and as computed on: labels, and a mask.
_EXTRA_BYTES = 4
# Regions after which what threads have freed goes back to the system: its rests add up.
_TRIM_EVERY = 16


@dataclass(frozen=True)
class Chunk:
    """The pixels of a region of one of the images."""

    number: int
    region: Region
    pixels: Pixels


class Reading:
    """Images of one type and number of channels, to be read as often as it takes.

    Attributes
    ----------
    images, masks : list of ChunkedImage
        The images, and for each a mask or None.
    budget : int
        Bytes of memory to get along with.
    skipped : dict of str to int
        What could not be decoded and was left out, and how many pixels.
    n_left_out : int
        Pixels left out in the last pass.
    """

    def __init__(
        self,
        images: Sequence[ChunkedImage],
        *,
        masks: Sequence[ChunkedImage | None] | None = None,
        nodata: float | None = None,
        skip_damaged: bool = False,
        budget: int,
        n_threads: int,
    ) -> None:
        first = images[0]
        self.images = list(images)
        self.masks = [None] * len(images) if masks is None else list(masks)
        self.nodata = nodata
        self.skip_damaged = skip_damaged
        self.n_threads = n_threads
        self.budget = budget
        self.stored = first.dtype
        self.n_channels = first.n_channels
        self.dtype = native(np.empty((0, 1), self.stored), "image").dtype
        self.skipped: dict[str, int] = {}
        self.n_left_out = 0
        self._found_nan = False

    @property
    def n_pixels(self) -> int:
        """Pixels of all grids."""
        return sum(image.n_pixels for image in self.images)

    @property
    def units(self) -> np.dtype[Any]:
        """Type of the values as they are meant."""
        return self.stored if self.images[0].scale is None else np.dtype(np.float64)

    @property
    def may_leave_out(self) -> bool:
        """Whether a rule that leaves pixels out applies, or label 0 is kept free."""
        return (
            self.nodata is not None
            or self.skip_damaged
            or self._found_nan
            or any(mask is not None for mask in self.masks)
            or any(image.may_hide or image.geometry is not None for image in self.images)
            or any(image.nodata is not None for image in self.images)
        )

    @property
    def room(self) -> int:
        """Bytes of the memory that are left beside Python and the tables of a counter."""
        return self.budget - ENGINE_BYTES

    def in_units(self, values: Array) -> Array:
        """Values (m, channels) as they are meant."""
        scale = self.images[0].scale
        return values if scale is None else values * scale[0] + scale[1]

    def check_kept(self, n_kept: int) -> None:
        """Refuse to go on where no pixel takes part."""
        name = self.images[0].name
        if n_kept == 0 and self.skipped:
            raise ValueError(
                f"{name}: nothing of it can be read (for one, {next(iter(self.skipped))})"
            )
        check_kept(n_kept, name)

    def chunks(
        self,
        threads: Threads,
        progress: Progress,
        stage: str,
        block: tuple[int, ...] | None = None,
        info: dict[str, Any] | None = None,
    ) -> Iterator[Chunk]:
        """All pixels, in regions that are unions of blocks, reported as done when taken."""
        self.n_left_out = 0
        total, done, at = self.n_pixels, [0, 0], [0]
        pending: deque[Task[Chunk]] = deque()
        ahead = self._ahead(block)
        heartbeat = progress.heartbeat_at(stage, info)

        def tell() -> None:
            heartbeat(done[0], total)

        def taken() -> Chunk:
            chunk = pending.popleft().result(tell)
            self._rest(at[0], chunk.number)
            at[0] = chunk.number
            done[0] += math.prod(shape_of(chunk.region))
            done[1] += 1
            if done[1] % _TRIM_EVERY == 0:
                release_freed()
            return self._noted(chunk)

        progress.report(stage, 0, total, info)
        try:
            for number, region in self._regions(block):
                pending.append(Task(partial(self.read, number, region)))
                threads.begin(pending[-1])
                if len(pending) > ahead:
                    yield taken()
                    tell()
            while pending:
                yield taken()
                tell()
        finally:
            for task in pending:
                task.finish()
        self._rest(at[0], len(self.images))
        progress.report(stage, total, total, info)

    def _rest(self, first: int, end: int) -> None:
        """Let images go that have been read in this pass."""
        for image, mask in zip(self.images[first:end], self.masks[first:end], strict=True):
            image.rest()
            if mask is not None:
                mask.rest()

    def _noted(self, chunk: Chunk) -> Chunk:
        self.n_left_out += chunk.pixels.n_left_out
        self._found_nan |= self.dtype.kind == "f" and chunk.pixels.n_left_out > 0
        return chunk

    def _step(self, image: ChunkedImage, block: tuple[int, ...] | None) -> tuple[int, ...]:
        must = (1,) * len(image.grid) if block is None else block
        return cut(image.grid, must, image.block, image.pixel_bytes)

    def _regions(self, block: tuple[int, ...] | None) -> Iterator[tuple[int, Region]]:
        for number, image in enumerate(self.images):
            for region in regions(image.grid, self._step(image, block)):
                yield number, region

    def _ahead(self, block: tuple[int, ...] | None) -> int:
        """Regions to decode beyond the one in use, as many as the memory holds."""
        each = self.stored.itemsize + self.dtype.itemsize * (self.stored != self.dtype)
        pixel = 2 * each * self.n_channels + _EXTRA_BYTES
        image = max(self.images, key=lambda image: math.prod(self._step(image, block)))
        largest = math.prod(self._step(image, block)) * pixel
        room = self.room // largest
        if room < 1:
            needed = (largest + ENGINE_BYTES) // MEBIBYTE + 1
            raise ValueError(
                f"{image.name}: is stored in pieces of {' x '.join(map(str, image.block))} pixels,"
                f" which are decoded at once and need {needed} MiB, but memory is"
                f" {self.budget // MEBIBYTE} MiB; give more (--memory {needed}MiB), or store it"
                " in smaller tiles"
            )
        return int(min(self.n_threads + 1, room - 1))

    def read(self, number: int, region: Region) -> Chunk:
        """Read and select the pixels of a region of an image; several threads may at once."""
        image, mask = self.images[number], self.masks[number]
        try:
            values, valid = image.read(region)
        except DamagedBlock:
            if not self.skip_damaged:
                raise
            values, valid = self._salvaged(image, region)
        if mask is not None:
            valid = both(valid, _mask_of(mask, region))
        shape = shape_of(region)
        nodata = image.nodata if self.nodata is None else self.nodata
        flat = native(values.reshape(-1, self.n_channels), "image")
        flat, kept = those_kept(flat, shape, valid, nodata, self.stored, image.scale)
        check_finite(flat, "image")
        check_largest(flat, "image")
        return Chunk(number, region, Pixels(flat, kept, shape, None, self.units, scale=image.scale))

    def _salvaged(self, image: ChunkedImage, region: Region) -> tuple[Array, Array]:
        """Read block by block, and leave out those that cannot be decoded."""
        shape = shape_of(region)
        values = np.zeros((*shape, self.n_channels), self.stored)
        valid = np.zeros(shape, bool)
        for block in blocks_in(region, image.block):
            inner = tuple(
                slice(b.start - r.start, b.stop - r.start)
                for b, r in zip(block, region, strict=True)
            )
            try:
                values[inner], there = image.read(block)
            except DamagedBlock as error:
                self.skipped[str(error)] = math.prod(shape_of(block))
                continue
            valid[inner] = True if there is None else there
        return values, valid


def _mask_of(mask: ChunkedImage, region: Region) -> Array:
    """True where any channel of a mask is not zero and the pixel not transparent."""
    values, valid = mask.read(region)
    zero = [stored_value(0.0, mask.scale, c, mask.dtype) for c in range(mask.n_channels)]
    kept: Array = np.any(values != np.array(zero), axis=-1)
    return kept if valid is None else kept & valid
