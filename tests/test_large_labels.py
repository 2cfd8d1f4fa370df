"""What every format that labels are written to in regions has to do, whatever the format."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from large_files import HEIGHT, WIDTH, picture, write_geo, write_ome, write_slide

from fastseg.io import read_image, write_labels
from fastseg.io.chunked import LabelPlan, cut, regions
from fastseg.io.image import Legend
from fastseg.io.opening import check_label_output, create_labels, open_image

COLORS = np.random.default_rng(3).integers(0, 256, (6, 3), dtype=np.uint8)
LEGEND = Legend(COLORS, True, {1: "water", 5: "bare soil"})


def read_geo(path):
    with rasterio.open(path) as file:
        return file.read(1)


def read_zarr(path):
    return zarr.open_array(str(path), mode="r")[:]


def read_ome(path):
    labels = zarr.open_array(str(path / "labels" / "clusters" / "0"), mode="r")[:]
    return labels.reshape(labels.shape[-2:])


def read_ome_beside(path):
    labels = zarr.open_array(str(path / "0"), mode="r")[:]
    return labels.reshape(labels.shape[-2:])


def an_npy(folder):
    np.save(folder / "in.npy", picture(HEIGHT, WIDTH, 3))
    return folder / "in.npy"


def a_tiff(folder):
    tifffile.imwrite(folder / "in.tif", picture(HEIGHT, WIDTH, 3), tile=(32, 32))
    return folder / "in.tif"


def a_geotiff(folder):
    return write_geo(folder / "in.tif", picture(3, HEIGHT, WIDTH))


def a_slide(folder):
    write_slide(folder / "in.svs")
    return folder / "in.svs"


def an_ome_v2(folder):
    write_ome(folder / "in.ome.zarr", 2, picture(1, 3, 1, HEIGHT, WIDTH))
    return folder / "in.ome.zarr"


def an_ome_v3(folder):
    write_ome(folder / "in.ome.zarr", 3, picture(1, 3, 1, HEIGHT, WIDTH))
    return folder / "in.ome.zarr"


def an_ome_in_shards(folder):
    write_ome(folder / "in.ome.zarr", 3, picture(1, 3, 1, HEIGHT, WIDTH), shards=True)
    return folder / "in.ome.zarr"


IMAGES = [an_npy, a_tiff, a_geotiff, a_slide, an_ome_v2, an_ome_v3, an_ome_in_shards]
OUTPUTS = [("out.npy", np.load), ("out.tif", read_geo), ("out.zarr", read_zarr),
           ("out.ome.zarr", read_ome)]  # fmt: skip
BESIDE = ("in.ome.zarr/labels/cells", read_ome_beside)
CASES = [
    pytest.param(image, *output, id=f"{image.__name__}-{output[0].partition('/')[0]}")
    for image in IMAGES
    for output in [*OUTPUTS, *([BESIDE] if "ome" in image.__name__ else [])]
]
WARNINGS = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"  # of the reader in the tests
)


def labels():
    return picture(HEIGHT, WIDTH) % 6


def write(path, like, *, n_regions=None, pool=map, **options):
    """Write labels in small regions; returns the shape of those."""
    plan = LabelPlan(like.grid, np.dtype(np.uint8), LEGEND, like)
    with create_labels(path, plan, **options) as writer:
        step = cut(plan.grid, writer.block, like.block, 1, 3000)
        parts = regions(plan.grid, step)[:n_regions]
        done = pool(lambda region: writer.encode(region, labels()[region]), parts)
        for region, encoded in zip(parts, done, strict=True):
            writer.write(region, encoded)
        if n_regions is not None:
            raise KeyboardInterrupt
        writer.finish(n_threads=2)
    return writer.block, step


@WARNINGS
@pytest.mark.parametrize(("image", "name", "read"), CASES)
def test_another_library_reads_the_labels(tmp_path, image, name, read):
    with open_image(image(tmp_path)) as like, ThreadPoolExecutor(8) as pool:
        block, step = write(tmp_path / name, like, pool=pool.map)
    np.testing.assert_array_equal(read(tmp_path / name), labels())
    for size, own, n in zip(step, block, like.grid, strict=True):
        assert size % own == 0 or size == n  # no two regions in a block of the output
    left = [path.name for path in tmp_path.rglob("*") if path.name.endswith(".part")]
    assert left == []


@pytest.mark.parametrize(("image", "name", "read"), CASES)
def test_what_is_broken_off_was_never_there(tmp_path, image, name, read):
    with open_image(image(tmp_path)) as like:
        before = sorted(path.name for path in tmp_path.rglob("*"))
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / name, like, n_regions=1)
        assert sorted(path.name for path in tmp_path.rglob("*")) == before


@WARNINGS
@pytest.mark.parametrize(("image", "name", "read"), CASES)
def test_labels_are_replaced_only_where_that_is_said(tmp_path, image, name, read):
    with open_image(image(tmp_path)) as like:
        write(tmp_path / name, like)
        with pytest.raises(FileExistsError, match="--overwrite"):
            write(tmp_path / name, like)
        with pytest.raises(FileExistsError, match="--overwrite"):
            check_label_output(tmp_path / name)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / name, like, n_regions=1, overwrite=True)
        np.testing.assert_array_equal(read(tmp_path / name), labels())
        check_label_output(tmp_path / name, True, [like.name])
        write(tmp_path / name, like, overwrite=True)
    np.testing.assert_array_equal(read(tmp_path / name), labels())


@pytest.mark.parametrize(("image", "name", "read"), CASES)
def test_the_reader_of_the_format_reads_them_too(tmp_path, image, name, read):
    with open_image(image(tmp_path)) as like:
        write(tmp_path / name, like)
    found = read_image(tmp_path / name)
    if name == "out.tif":  # shown in their colours
        np.testing.assert_array_equal(found.pixels, COLORS[labels()])
    else:
        np.testing.assert_array_equal(found.pixels, labels())


@pytest.mark.parametrize("name", ["out.npy", "out.tif", "out.zarr", "out.ome.zarr"])
def test_the_folder_must_be_there(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        check_label_output(tmp_path / "none" / name)


@pytest.mark.parametrize("image", IMAGES)
def test_an_input_is_never_an_output(tmp_path, image):
    path = image(tmp_path)
    with pytest.raises(ValueError, match=r"also an input|what can be written"):
        check_label_output(path, True, [path])


@WARNINGS
@pytest.mark.parametrize(("name", "read"), OUTPUTS)
def test_labels_that_are_held_are_written_so_too(tmp_path, name, read):
    write_labels(tmp_path / name, labels(), colors=COLORS, left_out=True)
    np.testing.assert_array_equal(read(tmp_path / name), labels())
