"""How image files are read and label files written, and the images opened so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ..io import StrPath, check_output
from ..io.channels import check_grid
from ..io.chunked import ChunkedImage, Part
from ..io.combined import Reopened, WithoutChannels
from ..io.opening import check_label_output, open_image
from ..io.threads import Threads
from ..kernels.cpu.threads import resolve_n_threads
from ..memory import memory_budget
from .reading import Reading

Paths = StrPath | Sequence[StrPath]
ON_ERROR = ("raise", "skip")


@dataclass(frozen=True)
class FileOptions:
    """How files are read and written.

    Parameters
    ----------
    series, level : int, optional
        Which image of the file, and which level of its pyramid (0 is the full size).
    pages : (int, int), optional
        First and end of the pages of a TIFF file, as planes of a volume.
    channels : sequence of int, optional
        Some of the channels, from 0, in this order.
    max_pixels : int, optional
        The largest picture to open; by default 2**38 pixels for large formats, and the limit
        of `fastseg.io.read_image` for others.
    memory : int or str, optional
        Bytes to get along with, or words such as "1GiB", at least 512 MiB. By default a
        quarter of the free memory, or that. Images of formats that are read as a whole take
        theirs beside it.
    on_error : {"raise", "skip"}
        "skip" leaves out tiles that cannot be decoded; clusters then count from 1.
    compression : {"deflate", "zstd", "none"}, optional
        Of labels as TIFF ("deflate" by default) or Zarr ("zstd").
    pyramid : bool
        Put smaller copies of the labels into the TIFF or OME-Zarr file; an OME-Zarr image
        with levels gets as many in any case.
    preview : path, optional
        Write a picture (.png) of image, labels and palette, at most 2048 pixels a side.
    dask : str, optional
        Address of a Dask scheduler, such as "tcp://10.0.0.1:8786", whose workers read and
        write: from Zarr to Zarr, on disks that this machine and all workers see by the same
        names.
    overwrite : bool
        Whether files may be replaced.
    """

    series: int | None = None
    level: int | None = None
    pages: tuple[int, int] | None = None
    channels: tuple[int, ...] | None = None
    max_pixels: int | None = None
    memory: int | str | None = None
    on_error: str = "raise"
    compression: str | None = None
    pyramid: bool = False
    preview: StrPath | None = None
    dask: str | None = None
    overwrite: bool = False

    @property
    def part(self) -> Part:
        """Which part of a file is the image."""
        channels = None if self.channels is None else tuple(self.channels)
        return Part(self.series, self.level, self.pages, channels)

    def check(self, outputs: Sequence[StrPath], inputs: Sequence[StrPath]) -> None:
        """Refuse what could not be written, before any work."""
        if self.on_error not in ON_ERROR:
            raise ValueError(f"on_error must be 'raise' or 'skip', got {self.on_error!r}")
        memory_budget(self.memory)
        for output in outputs:
            check_label_output(output, self.overwrite, inputs)
        if self.preview is not None:
            check_output(self.preview, self.overwrite, (".png",), inputs)
            if os.path.realpath(self.preview) in map(os.path.realpath, outputs):
                raise ValueError(
                    f"{os.fspath(self.preview)}: is the output and the preview of it; give"
                    " another name for one of them"
                )


DEFAULTS = FileOptions()


def paths_of(path: Paths) -> list[StrPath]:
    """Files of one image."""
    return [path] if isinstance(path, (str, os.PathLike)) else list(path)


@contextlib.contextmanager
def opened(
    images: Sequence[Paths],
    masks: Sequence[StrPath | None],
    nodata: float | None,
    options: FileOptions,
    n_threads: int | None,
) -> Iterator[tuple[Reading, Threads]]:
    """Open images and their masks, and the threads that decode them.

    Raises
    ------
    ValueError
        If the images are not of one type, or a mask has another grid.
    """
    threads = resolve_n_threads(n_threads)
    with contextlib.ExitStack() as stack:
        found: list[ChunkedImage] = []
        masking: list[ChunkedImage | None] = []
        # Of many files each is opened when its turn comes: systems allow some hundreds at once.
        many = len(images) > 1
        for path, mask in zip(images, masks, strict=True):
            opening = partial(open_image, path, options.part, max_pixels=options.max_pixels)
            image = stack.enter_context(Reopened(opening) if many else opening())
            found.append(image)
            if mask is None:
                masking.append(None)
                continue
            opening = partial(_open_mask, mask, image.grid, options.max_pixels)
            hiding = stack.enter_context(Reopened(opening) if many else opening())
            check_grid(f"mask {os.fspath(mask)}", hiding, image.name, image)
            masking.append(hiding)
        _check_alike(found)
        reading = Reading(
            found, masks=masking, nodata=nodata, skip_damaged=options.on_error == "skip",
            budget=memory_budget(options.memory), n_threads=threads,
        )  # fmt: skip
        yield reading, stack.enter_context(Threads(threads))


def _open_mask(path: StrPath, grid: tuple[int, ...], max_pixels: int | None) -> ChunkedImage:
    """Open a mask for a grid, which tells whether its array's last axis holds channels."""
    mask = open_image(path, max_pixels=max_pixels)
    return WithoutChannels(mask) if (*mask.grid, mask.n_channels) == grid else mask


def _check_alike(images: list[ChunkedImage]) -> None:
    first = images[0]
    for image in images[1:]:
        same_scale = (image.scale is None) == (first.scale is None) and (
            image.scale is None
            or first.scale is None
            or all((a == b).all() for a, b in zip(image.scale, first.scale, strict=True))
        )
        if (image.dtype, image.n_channels) != (first.dtype, first.n_channels) or not same_scale:
            raise ValueError(
                f"{image.name}: has {image.n_channels} channels of {image.dtype}, but"
                f" {first.name} has {first.n_channels} of {first.dtype}"
                f"{'' if same_scale else ', and another scale'}; fit images of one type together"
            )
