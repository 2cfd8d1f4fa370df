"""Rasters that lie on the ground, read region by region: all that is asked of rasterio.

GeoTIFF, VRT and JPEG 2000 as GDAL reads them: with masks, nodata, scales, colour tables,
overviews and files beside them. Labels get the place as tags of GeoTIFF, which GDAL makes.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .atomic import suffix_of
from .chunked import (
    ChunkedImage,
    DamagedBlock,
    NotInPieces,
    Part,
    Region,
    blocks_in,
    check_number,
    refuse_parts,
)
from .combined import chosen_scale
from .failures import words_of
from .image import Scale
from .quiet import without
from .tiff import check_segments_told, is_tiff
from .tiff_place import can_hold, place_tags
from .tiff_writer import TiffPlace

# GDAL reads one after the other of them, each as slowly as all of them are many.
_MOST_BANDS = 4096
_PARTS = re.compile(r"<(?:Src|Dst)Rect\b[^>]*>")
_SIZES = re.compile(r'\b[xy]Size\s*=\s*"([^"]*)"')
_LEAST_PART = 1e-3  # of a pixel
_MOST_TEXT = 2**26  # characters of a VRT

# GDAL would keep a twentieth of the memory for blocks that nobody asks for twice, and decode
# JPEG 2000 in threads of its own, which print their errors.
_SETTINGS: dict[str, int | str] = {"GDAL_CACHEMAX": 64 * 2**20, "GDAL_NUM_THREADS": 1}
# A VRT may name files anywhere: none is fetched from a network.
_SETTINGS |= {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}
_DRIVERS = {".vrt": "VRT", ".jp2": "JP2OpenJPEG"}
_REMOTE = re.compile(
    r"<Source(?:Filename|Dataset)[^>]*>\s*((?:&lt;|<!\[CDATA\[|https?:|ftp:|w[mc]t?s:|/vsi(?!zip|tar|gz))"
    r"[^<]*)",
    re.IGNORECASE,
)


def open_chunks(path: str, part: Part) -> GeoChunks:
    """Open a raster to be read in regions.

    Raises
    ------
    NotInPieces
        It is a TIFF file of a kind that GDAL does not read, or not as its colours are meant.
    ValueError
        The file is damaged, or has no such level.
    ImportError
        rasterio is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        raise ImportError(
            f'{path}: rasters of this kind need rasterio: pip install "fastseg[geo]"'
        ) from error
    refuse_parts(path, part, "GDAL reads a single image of it", but=("level", "channels"))
    return GeoChunks(path, rasterio, part.level)


class GeoChunks(ChunkedImage):
    """Bands of a raster; threads have a handle each."""

    def __init__(self, path: str, rasterio: Any, level: int | None) -> None:
        self._rasterio, self._path = rasterio, path
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        if is_tiff(path):
            check_segments_told(path)
        elif suffix_of(path) == ".vrt":
            _check_sources(path)
        self._level = self._checked(level)
        with self._dataset() as dataset:
            _check_kind(path, dataset)
            kinds = [kind.name for kind in dataset.colorinterp]
            self._alpha = kinds.index("alpha") + 1 if "alpha" in kinds else None
            self._bands = [i + 1 for i, kind in enumerate(kinds) if kind != "alpha"]
            self._colors = _palette(dataset) if kinds[0] == "palette" else None
            self._masked = _is_masked(rasterio, dataset)
            bands = [band - 1 for band in self._bands]
            nodatas, dtypes = dataset.nodatavals, dataset.dtypes  # each call asks every band
            stored = np.result_type(*{dtypes[i] for i in bands})
            self._nodatas = [_usable(nodatas[i], np.dtype(dtypes[i])) for i in bands]
            scale, notes = _scale(dataset, bands)
            grid = (dataset.height, dataset.width)
            block = tuple(min(b, n) for b, n in zip(dataset.block_shapes[0], grid, strict=True))
            place = _place(rasterio, dataset)
        dtype = np.dtype(np.uint8) if self._colors is not None else stored
        n_channels = 3 if self._colors is not None else len(bands)
        super().__init__(
            path, grid, dtype, n_channels, 2 if n_channels > 1 else None, block, scale=scale,
            metadata=place, notes=notes,
        )  # fmt: skip
        self._settle()

    def _settle(self) -> None:
        """Say which pixels are no part of the image, of the bands that are read."""
        known = [value for value in self._nodatas if value is not None]
        # As with any image, a pixel is left out where no channel says anything.
        everywhere = len(known) == len(self._nodatas)
        plain = self.scale is None and self._colors is None and len(set(known)) == 1
        self.nodata = known[0] if everywhere and plain else None
        self._hiding = everywhere and not plain and not self._masked
        self.may_hide = self._hiding or self._masked or self._colors is not None

    def _checked(self, level: int | None) -> int | None:
        """Level of the overviews, from 0, or None for the full size."""
        self._level = None
        with self._dataset() as dataset:
            n = 1 + len(dataset.overviews(1))
        self.close()
        check_number(self._path, "level", level or 0, n)
        return level - 1 if level else None

    @contextlib.contextmanager
    def _dataset(self) -> Iterator[Any]:
        """A handle that no other thread has."""
        with self._rasterio.Env(**_SETTINGS), self._failures():
            with self._lock:
                handle = self._idle.pop() if self._idle else None
            handle = handle or self._open()
            try:
                yield handle
            finally:
                with self._lock:
                    self._idle.append(handle)

    def _open(self) -> Any:
        more = {} if self._level is None else {"overview_level": self._level}
        driver = _DRIVERS.get(suffix_of(self._path), "GTiff")
        with self._lock, without(self._rasterio.errors.NotGeoreferencedWarning):
            return self._rasterio.open(self._path, driver=driver, **more)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Name the file in whatever GDAL raises."""
        try:
            yield
        except self._rasterio.errors.RasterioError as error:
            words = _words(error)
            if "missing codec" in words:
                raise NotInPieces(f"{self._path}: {words}") from error
            raise ValueError(
                f"{self._path}: cannot be read, it is truncated, damaged or of another format"
                f" ({words})"
            ) from error

    def choose(self, channels: tuple[int, ...]) -> ChunkedImage:
        """See `ChunkedImage.choose`; other bands are not decoded where they lie apart."""
        if self._colors is not None:
            return super().choose(channels)
        self.check_channels(channels)
        self._bands = [self._bands[channel] for channel in channels]
        self._nodatas = [self._nodatas[channel] for channel in channels]
        self.scale = chosen_scale(self.scale, channels)
        self.n_channels = len(channels)
        self._settle()
        return self

    def read(self, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `ChunkedImage.read`."""
        with self._dataset() as dataset:
            try:
                return self._read(dataset, region)
            except self._rasterio.errors.RasterioError as error:
                raise self._damaged(dataset, region, error) from error

    def _read(self, dataset: Any, region: Region) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        window = _window(self._rasterio, region)
        planes = dataset.read(self._bands, window=window)
        valid: NDArray[np.bool_] | None = None
        if self._hiding:
            differs = [p != n for p, n in zip(planes, self._nodatas, strict=True)]
            valid = np.logical_or.reduce(differs)
        elif self._alpha is not None:
            valid = dataset.read(self._alpha, window=window) != 0
        elif self._masked:
            valid = dataset.read_masks(self._bands, window=window).any(axis=0)
        if self._colors is None:
            return np.ascontiguousarray(np.moveaxis(planes, 0, -1), self.dtype), valid
        colors = self._colors[planes[0]]
        shown = colors[..., 3] != 0
        return np.ascontiguousarray(colors[..., :3]), shown if valid is None else shown & valid

    def _damaged(self, dataset: Any, region: Region, error: Exception) -> DamagedBlock:
        """Error that names the first block of a region that cannot be decoded."""
        found = region
        for block in blocks_in(region, self.block, self.grid):
            try:
                self._read(dataset, block)
            except self._rasterio.errors.RasterioError as reason:
                found, error = block, reason
                break
        return DamagedBlock(
            f"{self.name}: the block at row {found[0].start} and column {found[1].start} cannot be"
            f" read ({_words(error)}); get a fresh copy"
        )

    def close(self) -> None:
        """See `ChunkedImage.close`."""
        with self._lock:
            for handle in self._idle:
                handle.close()
            self._idle.clear()


def _window(rasterio: Any, region: Region) -> Any:
    rows, columns = region
    return rasterio.windows.Window(
        columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
    )


def _words(error: BaseException) -> str:
    """What GDAL says, which stands in the cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return words_of(error)


def _check_sources(path: str) -> None:
    """Refuse what would be fetched from a network, and parts of sources that hold no pixel.

    Of those GDAL gives values that nobody has written.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read(_MOST_TEXT)
    for size in _SIZES.findall(" ".join(_PARTS.findall(text))):
        if not _LEAST_PART <= _number(size) < math.inf:
            told = words_of(ValueError(size[:40]))
            raise ValueError(f"{path}: is damaged (a part of a source has a side of {told})")
    found = _REMOTE.search(text)
    if found:
        raise ValueError(
            f"{path}: names {words_of(ValueError(found[1]))}, and nothing is fetched from a"
            " network; download it, and name the file"
        )


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _check_kind(path: str, dataset: Any) -> None:
    if dataset.count == 0:
        names = ", ".join(dataset.subdatasets[:5])
        raise ValueError(f"{path}: holds no bands" + (f"; give one of {names}" if names else ""))
    if dataset.count > _MOST_BANDS:
        raise ValueError(
            f"{path}: holds {dataset.count:,} bands, and no more than {_MOST_BANDS:,} are read; the"
            " file is damaged, or write some of them to a file of their own"
        )
    kinds = {np.dtype(each).kind for each in dataset.dtypes}
    if not kinds <= set("uif"):
        listed = ", ".join(sorted(set(dataset.dtypes)))
        raise ValueError(f"{path}: holds {listed} values; integers or floats are expected")
    # Asked for a damaged JPEG 2000 file, GDAL does not come back.
    if dataset.driver == "GTiff" and dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        raise NotInPieces(f"{path}: in this file zero is white")


def _is_masked(rasterio: Any, dataset: Any) -> bool:
    """Whether masks other than by nodata hide pixels."""
    flags = rasterio.enums.MaskFlags
    return any(
        flags.all_valid not in each and flags.nodata not in each for each in dataset.mask_flag_enums
    )


def _palette(dataset: Any) -> NDArray[np.uint8]:
    """Colours (n_values, 4) of a band of indices."""
    top = np.iinfo(dataset.dtypes[0]).max
    colors = np.zeros((min(top, 2**16 - 1) + 1, 4), np.uint8)
    colors[:, 3] = 255
    for value, color in dataset.colormap(1).items():
        colors[value] = color
    return colors


def _usable(value: float | None, dtype: np.dtype[Any]) -> float | None:
    return None if value is None or not can_hold(dtype, value) else float(value)


def _scale(dataset: Any, bands: list[int]) -> tuple[Scale | None, tuple[str, ...]]:
    """Slope and intercept of each band, and a note where they are left aside."""
    slopes = np.array(dataset.scales, np.float64)[bands]
    intercepts = np.array(dataset.offsets, np.float64)[bands]
    if (slopes == 1).all() and (intercepts == 0).all():
        return None, ()
    if not np.isfinite([slopes, intercepts]).all() or (slopes <= abs(intercepts) / 2**36).any():
        return None, ("The scales and offsets of the bands were not applied.",)
    return (slopes, intercepts), ()


def _place(rasterio: Any, dataset: Any) -> TiffPlace | None:
    """Tags of the place, as GDAL writes them into a file of one pixel."""
    points, crs = dataset.gcps
    place: dict[str, Any] = {"crs": dataset.crs or crs, "rpcs": dataset.rpcs}
    if points:
        place["gcps"] = points
    elif not dataset.transform.is_identity:
        place["transform"] = dataset.transform
    kept = {name: value for name, value in place.items() if value}
    if not kept:
        return None
    form = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
    with rasterio.io.MemoryFile() as memory:
        with (
            without(rasterio.errors.NotGeoreferencedWarning),
            memory.open(**form, **kept) as pixel,
        ):
            pixel.update_tags(AREA_OR_POINT=dataset.tags().get("AREA_OR_POINT", "Area"))
        return TiffPlace(place_tags(io.BytesIO(memory.read())))
