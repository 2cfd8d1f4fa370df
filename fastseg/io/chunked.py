"""Images read in pieces, and labels written in pieces: what every format of large files offers.

A format is two modules' worth of functions, named in ``opening.py``:

- ``open_chunks(path, part) -> ChunkedImage`` reads the header and nothing else;
- ``create(path, plan, overwrite=...) -> ContextManager[LabelWriter]`` begins a file of labels
  that appears, whole, when its block has ended well (`atomic_write`, `atomic_folder`).

A region is a tuple of slices with a start and a stop for each axis of the grid. All
that is read and written at once is one region; ``cut`` makes them so that nobody
decodes a block twice and no two regions share a block of the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .image import Geometry, Legend, Scale

Region = tuple[slice, ...]

# Bytes of pixels that a region holds where blocks allow it: some tens of milliseconds to
# decode, so that Ctrl-C is answered. It is no matter of the memory there is, because sums of
# floats depend on how pixels are grouped.
REGION_BYTES = 2**23


@dataclass(frozen=True)
class Part:
    """Which part of a file is the image.

    ``series``, ``level`` (of a pyramid, 0 is the full size) and ``pages`` (first, end)
    choose among several images in a file, ``channels`` some of the channels, from 0, in
    this order. None is the first image, in full, with all channels.
    """

    series: int | None = None
    level: int | None = None
    pages: tuple[int, int] | None = None
    channels: tuple[int, ...] | None = None


class ChunkedImage:
    """An image that is read region by region. Formats derive from it and implement `read`.

    Attributes
    ----------
    name : str
        The file, for messages.
    grid : tuple of int
        The shape without channels.
    dtype : dtype
        Type of the values as `read` gives them, in native byte order.
    n_channels : int
        Values per pixel.
    channel_axis : int or None
        Axis of the channels of the image as a whole array, None for none.
    block : tuple of int
        The shape of what the file decodes at once, over the grid; 1 along axes that can be
        cut anywhere at no cost. Blocks begin at the origin of the grid.
    may_hide : bool
        Whether `read` may tell of pixels that are no part of the image: label 0 is then
        kept for those.
    nodata : float or None
        The value by which the file says that there is nothing.
    scale : pair of ndarray or None
        As of `Image`.
    geometry : Geometry or None
        As of `Image`.
    metadata : object
        What the writer of the same format needs to put labels at the same place.
    notes : tuple of str
        What was done to the file's content.
    """

    def __init__(
        self,
        name: str,
        grid: tuple[int, ...],
        dtype: np.dtype[Any],
        n_channels: int,
        channel_axis: int | None,
        block: tuple[int, ...],
        *,
        may_hide: bool = False,
        nodata: float | None = None,
        scale: Scale | None = None,
        geometry: Geometry | None = None,
        metadata: Any = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.grid = grid
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.n_channels = n_channels
        self.channel_axis = channel_axis
        self.block = block
        self.may_hide = may_hide
        self.nodata = nodata
        self.scale = scale
        self.geometry = geometry
        self.metadata = metadata
        self.notes = notes

    @property
    def n_pixels(self) -> int:
        """Pixels of the grid."""
        return math.prod(self.grid)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the values of a pixel."""
        return self.n_channels * self.dtype.itemsize

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read a region: values (*its shape, n_channels), and which pixels are part of the image.

        Several threads may call it at once. The second is None where all are. Blocks that
        lie in the region as a whole are decoded once.

        Raises
        ------
        DamagedBlock
            What the file holds there cannot be decoded.
        OSError
            The file cannot be read.
        """
        raise NotImplementedError

    def choose(self, channels: tuple[int, ...]) -> ChunkedImage:
        """Make an image of some channels, in this order; it is closed in place of this one.

        Formats that store channels apart override it, and read those alone.

        Raises
        ------
        ValueError
            There is no such channel.
        """
        from .combined import ChosenChannels

        return ChosenChannels(self, self.check_channels(channels))

    def check_channels(self, channels: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse channels that are not there."""
        n = self.n_channels
        wrong = [channel for channel in channels if not 0 <= channel < n]
        if wrong or not channels:
            raise ValueError(
                f"{self.name}: has no channel {wrong[0] if wrong else channels!r};"
                f" its {n} channels are 0 to {n - 1}"
            )
        return channels

    def rest(self) -> None:
        """Let go of what can be opened again: the image will not be read for a while."""

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class NotInPieces(ValueError):
    """A file of a format that is read in regions, but of a kind that has to be read whole."""


class MissingCodec(ImportError):
    """A compression that nothing installed decodes; the message names it and what would."""


class DamagedBlock(ValueError):
    """A piece of a file that cannot be decoded; the message names the file and the piece."""


@dataclass(frozen=True)
class LabelPlan:
    """What labels are to be written.

    ``grid``, ``dtype`` (unsigned) and ``legend`` describe them, ``like`` is the image they
    belong to. ``block`` is that of the image: where the format has a say, blocks of the
    output are multiples of it or it of them. ``compression`` names one of the format's or
    is None for its own choice, and ``pyramid`` asks for smaller copies in the file.
    """

    grid: tuple[int, ...]
    dtype: np.dtype[Any]
    legend: Legend = field(default_factory=Legend)
    like: ChunkedImage | None = None
    compression: str | None = None
    pyramid: bool = False

    @property
    def block(self) -> tuple[int, ...]:
        """Shape of what the image decodes at once."""
        return (1,) * len(self.grid) if self.like is None else self.like.block


class LabelWriter(Protocol):
    """Writes labels region by region.

    Every region is a union of the writer's ``block`` shapes, cut off at the ends of the
    grid; each pixel comes once.
    """

    block: tuple[int, ...]

    def encode(self, region: Region, labels: NDArray[Any]) -> Any:
        """Encode the labels of a region. Several threads may call it at once."""

    def write(self, region: Region, encoded: Any) -> None:
        """Write what `encode` gave, in the order of the regions and by one thread at a time."""

    def finish(self, tick: Callable[[int, int], None] | None = None, n_threads: int = 1) -> None:
        """Write what stands at the end, after the last region.

        ``tick`` is called with (done, in all) where that takes long.
        """


def cut(
    grid: tuple[int, ...],
    must: tuple[int, ...],
    wanted: tuple[int, ...],
    pixel_bytes: int,
    limit: int = REGION_BYTES,
) -> tuple[int, ...]:
    """Shape of regions: multiples of ``must``, and of ``wanted`` unless they became too large.

    As large as ``limit`` bytes allow, the last axes first, so that what lies together in
    files and in memory is read together.
    """
    most = max(1, limit // pixel_bytes)
    both = tuple(_multiple(m, w, n) for m, w, n in zip(must, wanted, grid, strict=True))
    # Large regions cost memory; blocks that are decoded more than once, time.
    bound = 8 * max(most, math.prod(_clipped(wanted, grid)))
    step = list(both if math.prod(both) <= bound else _clipped(must, grid))
    for axis in reversed(range(len(grid))):
        room = most // math.prod(step)
        if room < 2:
            break
        step[axis] = min(grid[axis], step[axis] * min(room, -(-grid[axis] // step[axis])))
        if step[axis] < grid[axis]:
            break
    return tuple(step)


def _multiple(a: int, b: int, n: int) -> int:
    return min(n, math.lcm(a, b))


def _clipped(block: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    return tuple(min(b, n) for b, n in zip(block, grid, strict=True))


def regions(grid: tuple[int, ...], step: tuple[int, ...]) -> list[Region]:
    """All regions of a shape, in the order of the grid."""
    counts = [-(-n // s) for n, s in zip(grid, step, strict=True)]
    return [
        tuple(slice(i * s, min((i + 1) * s, n)) for i, s, n in zip(index, step, grid, strict=True))
        for index in np.ndindex(*counts)
    ]


def blocks_in(
    region: Region, block: tuple[int, ...], grid: tuple[int, ...] | None = None
) -> Iterator[Region]:
    """Blocks that a region touches: cut to it, or where a grid is given to the grid."""
    firsts = [part.start // size for part, size in zip(region, block, strict=True)]
    counts = [
        -(-part.stop // size) - first
        for part, size, first in zip(region, block, firsts, strict=True)
    ]
    ends = region if grid is None else tuple(slice(0, n) for n in grid)
    for index in np.ndindex(*counts):
        yield tuple(
            slice(max(end.start, (first + i) * size), min(end.stop, (first + i + 1) * size))
            for end, size, first, i in zip(ends, block, firsts, index, strict=True)
        )


def shape_of(region: Region) -> tuple[int, ...]:
    """Shape of a region."""
    return tuple(part.stop - part.start for part in region)


def refuse_parts(path: str, part: Part, reason: str, but: tuple[str, ...] = ()) -> None:
    """Raise ValueError where a part is asked for that such files do not have."""
    for name in ("series", "level", "pages", "channels"):
        if name not in but and getattr(part, name) is not None:
            raise ValueError(f"{path}: {reason}; leave out {name} (--{name})")


def check_number(path: str, what: str, number: int, n: int) -> int:
    """Refuse the number of a series or level that a file does not have."""
    if not 0 <= number < n:
        known = f"its {n} are 0 to {n - 1}" if n > 1 else "it has 0 alone"
        raise ValueError(f"{path}: has no {what} {number}; {known}")
    return number


def refuse_options(path: str, plan: LabelPlan) -> None:
    """Raise ValueError where something is asked for that the format does not have."""
    for name, value in (("compression", plan.compression), ("pyramid", plan.pyramid)):
        if value:
            raise ValueError(f"{path}: {name} (--{name}) is for .tif and Zarr; leave it out")
