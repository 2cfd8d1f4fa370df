"""Files of every format that is read in regions, made for the tests by other libraries.

Each is small, of a size that its blocks do not divide, and comes with what is to be read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import tifffile
import zarr
from affine import Affine
from PIL import Image

from fastseg.io.chunked import Part

HEIGHT, WIDTH = 147, 211
WHOLE = Part()
PLACE = Affine(10, 0, 5e5, 0, -10, 5e6)


@dataclass(frozen=True)
class Made:
    """A file, which part of it is meant, its values (*grid, channels), and what takes part.

    ``damage`` makes a piece of the file undecodable and gives words of the message that
    are to name it, and the region (slices) that cannot be read then.
    """

    path: Path
    values: np.ndarray
    valid: np.ndarray | None = None
    part: Part = WHOLE
    damage: Callable[[Path], tuple[str, tuple[slice, ...]]] | None = None


def picture(*shape: int, dtype: str = "uint8") -> np.ndarray:
    """Noise with few values, so that it is packed in more than one symbol per value."""
    return np.random.default_rng(5).integers(0, 200, shape).astype(dtype)


def rgb() -> np.ndarray:
    return picture(HEIGHT, WIDTH, 3)


def npy(folder: Path) -> Made:
    np.save(folder / "a.npy", rgb())
    return Made(folder / "a.npy", rgb())


def npy_volume(folder: Path) -> Made:
    values = np.asfortranarray(picture(20, 30, 40, dtype=">u2"))
    np.save(folder / "a.npy", values)
    return Made(folder / "a.npy", values[..., None])


def png(folder: Path) -> Made:
    Image.fromarray(rgb()).save(folder / "a.png")
    return Made(folder / "a.png", rgb())


def spoil_tiff(page: int, segment: int, words: str, region: tuple[slice, ...]) -> Callable:
    def damage(path: Path) -> tuple[str, tuple[slice, ...]]:
        with tifffile.TiffFile(path) as file:
            found = file.pages[page]
            start, size = found.dataoffsets[segment], found.databytecounts[segment]
        with open(path, "rb+") as file:
            file.seek(start)
            file.write(b"\x00" * size)
        return words, region

    return damage


def tiff_tiles(folder: Path) -> Made:
    tifffile.imwrite(
        folder / "a.tif", rgb(), tile=(64, 64), compression="deflate", photometric="rgb"
    )
    damage = spoil_tiff(0, 5, "the tile 5, at row 64 and column 64,", np.s_[64:128, 64:128])
    return Made(folder / "a.tif", rgb(), damage=damage)


def tiff_strips(folder: Path) -> Made:
    values = picture(2, HEIGHT, WIDTH, dtype="uint16")
    tifffile.imwrite(
        folder / "a.tiff", values, rowsperstrip=10, photometric="minisblack",
        planarconfig="separate", compression="zstd", bigtiff=True,
    )  # fmt: skip
    return Made(folder / "a.tiff", np.moveaxis(values, 0, -1))


def ome_tiff(folder: Path) -> Made:
    values = picture(3, 2, HEIGHT, WIDTH)
    tifffile.imwrite(
        folder / "a.ome.tif", values, metadata={"axes": "ZCYX"}, tile=(64, 64), compression="lzw"
    )
    return Made(folder / "a.ome.tif", np.moveaxis(values, 1, -1))


def spoil_file(name: str, words: str, region: tuple[slice, ...]) -> Callable:
    def damage(path: Path) -> tuple[str, tuple[slice, ...]]:
        file = path / name
        file.write_bytes(file.read_bytes()[:20])
        return words, region

    return damage


def zarr_v2(folder: Path) -> Made:
    array = zarr.create_array(
        store=str(folder / "a.zarr"), shape=rgb().shape, chunks=(64, 50, 3), dtype="u1",
        zarr_format=2,
    )  # fmt: skip
    array[:] = rgb()
    damage = spoil_file("1.2.0", "the chunk 1.2.0, at [64, 100, 0]", np.s_[64:128, 100:150])
    return Made(folder / "a.zarr", rgb(), damage=damage)


def zarr_v3(folder: Path) -> Made:
    """Channels first, as the names of the axes say; big-endian."""
    values = picture(4, HEIGHT, WIDTH, dtype="uint16")
    array = zarr.create_array(
        store=str(folder / "a.zarr"), shape=values.shape, chunks=(1, 64, 50), dtype=">u2",
        dimension_names=("c", "y", "x"),
    )  # fmt: skip
    array[:] = values
    damage = spoil_file("c/3/0/0", "the chunk c/3/0/0, at [3, 0, 0]", np.s_[0:64, 0:50])
    return Made(folder / "a.zarr", np.moveaxis(values, 0, -1), damage=damage)


def zarr_sharded(folder: Path) -> Made:
    values = picture(20, HEIGHT, WIDTH)
    array = zarr.create_array(
        store=str(folder / "a.zarr"), shape=values.shape, chunks=(4, 16, 25), shards=(8, 64, 50),
        dtype="u1",
    )  # fmt: skip
    array[:] = values
    damage = spoil_file("c/1/2/0", "the shard c/1/2/0, at [8, 128, 0]", np.s_[8:16, 128:147, 0:50])
    return Made(folder / "a.zarr", values[..., None], damage=damage)


def write_ome(
    path: Path, zarr_format: int, values: np.ndarray, n_levels: int = 3, shards: bool = False
) -> list[np.ndarray]:
    """Write an image (t, c, z, y, x) of OME-Zarr, each level of every second pixel."""
    group = zarr.create_group(store=str(path), zarr_format=zarr_format)
    levels = [values[..., :: 2**i, :: 2**i] for i in range(n_levels)]
    datasets = []
    for number, level in enumerate(levels):
        array = group.create_array(
            str(number), shape=level.shape, chunks=(1, 1, 1, 32, 32), dtype=level.dtype,
            shards=(1, 1, 1, 64, 64) if shards else None,
            dimension_names=list("tczyx") if zarr_format == 3 else None,
        )  # fmt: skip
        array[:] = level
        scale = [1.0, 1.0, 2.0, 0.5 * 2**number, 0.5 * 2**number]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    image = {"name": "cells", "axes": axes, "datasets": datasets}
    if zarr_format == 2:
        group.attrs["multiscales"] = [{"version": "0.4", **image}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return levels


def ome_zarr_v2(folder: Path) -> Made:
    levels = write_ome(folder / "a.ome.zarr", 2, picture(1, 2, 3, HEIGHT, WIDTH))
    damage = spoil_file("0/0.1.2.0.3", "the chunk 0.1.2.0.3, at [0, 1, 2, 0, 96]",
                        np.s_[2:3, 0:32, 96:128])  # fmt: skip
    return Made(folder / "a.ome.zarr", np.moveaxis(levels[0][0], 0, -1), damage=damage)


def ome_zarr_level(folder: Path) -> Made:
    levels = write_ome(folder / "a.ome.zarr", 3, picture(1, 2, 1, HEIGHT, WIDTH), shards=True)
    values = np.moveaxis(levels[1][0, :, 0], 0, -1)
    return Made(folder / "a.ome.zarr", values, part=Part(level=1))


def write_geo(path: Path, values: np.ndarray, driver: str = "GTiff", **options: object) -> Path:
    """Write bands (n, height, width) as a raster."""
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 48} if driver == "GTiff" else {}
    place = {"crs": "EPSG:32633", "transform": PLACE}
    with rasterio.open(
        path, "w", driver=driver, dtype=values.dtype, **{**shape, **tiles, **place, **options}
    ) as file:
        file.write(values)
    return path


def geotiff(folder: Path) -> Made:
    values = picture(5, HEIGHT, WIDTH, dtype="uint16")
    path = write_geo(folder / "a.tif", values, compress="deflate", interleave="band")
    damage = spoil_tiff(0, 5, "the block at row 48 and column 64", np.s_[48:96, 64:128])
    return Made(path, np.moveaxis(values, 0, -1), damage=damage)


def geotiff_masked(folder: Path) -> Made:
    values, valid = picture(3, HEIGHT, WIDTH), picture(HEIGHT, WIDTH) > 50
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_geo(folder / "a.tif", values, interleave="pixel", compress="lzw")
        with rasterio.open(path, "r+") as file:
            file.write_mask(valid)
    return Made(path, np.moveaxis(values, 0, -1), valid)


def vrt(folder: Path) -> Made:
    values = picture(2, HEIGHT, WIDTH, dtype="float32")
    path = write_geo(folder / "a.tif", values)
    rasterio.shutil.copy(path, folder / "a.vrt", driver="VRT")
    return Made(folder / "a.vrt", np.moveaxis(values, 0, -1))


def jpeg_2000(folder: Path) -> Made:
    values = picture(3, HEIGHT, WIDTH)
    path = write_geo(
        folder / "a.jp2", values, "JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES",
        BLOCKXSIZE=64, BLOCKYSIZE=64, YCBCR420="NO",
    )  # fmt: skip
    return Made(path, np.moveaxis(values, 0, -1))


def write_slide(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH), n_levels: int = 1) -> list:
    """Write what OpenSlide takes for a slide of Aperio's."""
    full = picture(*size, 3)
    levels = [full[:: 2**i, :: 2**i][: size[0] >> i, : size[1] >> i] for i in range(n_levels)]
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            said = f"Aperio Image Library v1\n{size[1]}x{size[0]} (64x64)|AppMag = 20|MPP = 0.25"
            file.write(
                level, tile=(64, 64), photometric="rgb", compression="deflate", metadata=None,
                description=said if number == 0 else None, subfiletype=int(number > 0),
            )  # fmt: skip
    return levels


def slide(folder: Path) -> Made:
    (values,) = write_slide(folder / "a.svs")
    damage = spoil_tiff(0, 5, "the tile at row 64 and column 64 of level 0", np.s_[64:128, 64:128])
    return Made(folder / "a.svs", values, damage=damage)


def slide_level(folder: Path) -> Made:
    levels = write_slide(folder / "a.svs", (300, 420), 2)
    return Made(folder / "a.svs", levels[1], part=Part(level=1))


MAKERS = [
    npy, npy_volume, png, tiff_tiles, tiff_strips, ome_tiff, zarr_v2, zarr_v3, zarr_sharded,
    ome_zarr_v2, ome_zarr_level, geotiff, geotiff_masked, vrt, jpeg_2000, slide, slide_level,
]  # fmt: skip

WITH_DAMAGE = [
    tiff_tiles, zarr_v2, zarr_v3, zarr_sharded, ome_zarr_v2, geotiff, slide,
]  # fmt: skip
IN_ONE_FILE = [
    npy, npy_volume, png, tiff_tiles, tiff_strips, ome_tiff, geotiff, geotiff_masked, jpeg_2000,
    slide,
]  # fmt: skip
# The first level alone is read as a whole.
READ_WHOLE = [maker for maker in MAKERS if maker not in (ome_zarr_level, slide_level)]


def cuts(grid: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Regions that no block divides, down to a single pixel, at both ends and between."""
    found = []
    for part in (1.0, 0.61, 0.3):
        sizes = [max(1, int(n * part)) for n in grid]
        places = itertools.product(
            *({0, (n - size) // 3, n - size} for n, size in zip(grid, sizes, strict=True))
        )
        for place in places:
            found.append(tuple(slice(p, p + s) for p, s in zip(place, sizes, strict=True)))
    return [*found, tuple(slice(n - 1, n) for n in grid)]
