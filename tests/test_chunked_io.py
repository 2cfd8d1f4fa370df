"""Images read in regions, and labels written in regions: the same bytes as in one piece."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as pillow

from fastseg.io import read_image, write_labels
from fastseg.io.chunked import (
    DamagedBlock,
    LabelPlan,
    NotInPieces,
    Part,
    cut,
    regions,
    shape_of,
)
from fastseg.io.image import Legend
from fastseg.io.opening import create_labels, open_image
from fastseg.io.tiff_chunks import open_chunks

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (70, 91, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 5, (70, 91), dtype=np.uint8)
COLORS = RNG.integers(0, 256, (5, 3), dtype=np.uint8)


def read(image, limit=4000):
    """The image in small regions, put together."""
    step = cut(image.grid, (1,) * len(image.grid), image.block, image.pixel_bytes, limit)
    values = np.zeros((*image.grid, image.n_channels), image.dtype)
    valid = np.zeros(image.grid, bool)
    seen = np.zeros(image.grid, int)
    for region in regions(image.grid, step):
        values[region], kept = image.read(region)
        valid[region] = True if kept is None else kept
        seen[region] += 1
    assert (seen == 1).all()
    return values, valid


def tiff(tmp_path, array, **options):
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    with open_image(tmp_path / "a.tif") as image:
        return *read(image), image


# How a grid is cut


@given(
    grid=st.lists(st.integers(1, 60), min_size=2, max_size=3),
    must=st.integers(1, 20),
    wanted=st.integers(1, 20),
    limit=st.integers(1, 3000),
)
@settings(max_examples=200, deadline=None)
def test_regions_cover_a_grid_once_and_share_no_block_of_the_output(grid, must, wanted, limit):
    grid = tuple(grid)
    step = cut(grid, (must,) * len(grid), (wanted,) * len(grid), 1, limit)
    seen = np.zeros(grid, int)
    for region in regions(grid, step):
        seen[region] += 1
    assert (seen == 1).all()
    for size, n in zip(step, grid, strict=True):
        assert size == n or size % must == 0


def test_regions_are_of_whole_blocks_and_as_large_as_the_limit_allows():
    step = cut((10_000, 100_000), (512, 512), (256, 256), 3, 2**23)
    assert step == (512, 5120)
    # Strips are never decoded twice, however high they are.
    assert cut((10_000, 10_000), (16, 16), (10_000, 10_000), 1, 2**20) == (10_000, 10_000)
    # Blocks that fit no tiles are decoded twice where regions of both were huge.
    assert math.prod(cut((99_999, 99_999), (512, 512), (1021, 1021), 3, 2**23)) < 2**24


# TIFF


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize(
    "layout", [{"tile": (16, 32)}, {"rowsperstrip": 9}, {"rowsperstrip": 100}, {"tile": (96, 96)}]
)
def test_tiles_and_strips_of_any_compression(tmp_path, compression, layout):
    values, valid, image = tiff(tmp_path, RGB, compression=compression, photometric="rgb", **layout)
    np.testing.assert_array_equal(values, RGB)
    assert valid.all()
    assert not image.may_hide
    assert (image.grid, image.channel_axis, image.notes) == ((70, 91), 2, ())


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_any_type_in_any_byte_order(tmp_path, dtype, order):
    array = (RGB[..., 0] / 2).astype(dtype)
    values, _, image = tiff(tmp_path, array, tile=(16, 16), compression="zlib", byteorder=order)
    assert image.dtype == np.dtype(dtype)
    assert (image.n_channels, image.channel_axis) == (1, None)
    np.testing.assert_array_equal(values[..., 0], array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_predictors(tmp_path, dtype):
    values, _, _ = tiff(
        tmp_path, RGB.astype(dtype), tile=(32, 32), compression="zlib", predictor=True,
        photometric="rgb",
    )  # fmt: skip
    np.testing.assert_array_equal(values, RGB)


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 8}])
def test_planes_apart(tmp_path, layout):
    values, _, image = tiff(
        tmp_path, np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate", **layout
    )
    np.testing.assert_array_equal(values, RGB)
    assert image.channel_axis == 2


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_one_strip_of_values_as_they_are_is_read_row_by_row(tmp_path, planar, order):
    array = np.moveaxis(RGB, -1, 0) if planar else RGB
    how = "separate" if planar else "contig"
    values, _, image = tiff(
        tmp_path, array.astype(np.uint16), rowsperstrip=70, photometric="rgb", planarconfig=how,
        byteorder=order,
    )  # fmt: skip
    assert image.block == (1, 91)
    np.testing.assert_array_equal(values, RGB)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp"])
def test_compressions_of_pictures(tmp_path, compression):
    tifffile.imwrite(tmp_path / "a.tif", RGB, tile=(32, 32), compression=compression)
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(read(image)[0], tifffile.imread(tmp_path / "a.tif"))


def test_big_files_and_channels_without_a_name(tmp_path):
    many = np.dstack([RGB, RGB[..., ::-1], RGB])
    values, _, image = tiff(
        tmp_path, many, bigtiff=True, tile=(16, 16), photometric="minisblack", planarconfig="contig"
    )
    np.testing.assert_array_equal(values, many)
    assert image.n_channels == 9


def test_alpha_is_no_channel_and_hides_pixels(tmp_path):
    alpha = (RGB[..., :1] > 100).astype(np.uint8) * 7
    values, valid, image = tiff(
        tmp_path, np.dstack([RGB, alpha]), tile=(16, 16), photometric="rgb",
        extrasamples=["unassalpha"],
    )  # fmt: skip
    assert image.may_hide
    np.testing.assert_array_equal(values, RGB)
    np.testing.assert_array_equal(valid, alpha[..., 0] > 0)


def test_white_is_zero_and_palettes(tmp_path):
    values, _, image = tiff(tmp_path, RGB[..., 0], tile=(16, 16), photometric="miniswhite")
    np.testing.assert_array_equal(values[..., 0], 255 - RGB[..., 0])
    assert "inverted" in image.notes[0]
    colormap = RNG.integers(0, 65536, (3, 256)).astype(np.uint16)
    values, _, image = tiff(tmp_path, RGB[..., 0], tile=(16, 16), colormap=colormap)
    np.testing.assert_array_equal(values, (colormap >> 8).T[RGB[..., 0]])
    assert image.n_channels == 3


def test_tiles_that_were_left_out_of_the_file_are_zero(tmp_path):
    values, _, _ = tiff(tmp_path, RGB, tile=(32, 32), photometric="rgb")
    path = tmp_path / "a.tif"
    with tifffile.TiffFile(path, mode="r+b") as file:
        tag = file.pages[0].tags["TileByteCounts"]
        tag.overwrite((0, *tag.value[1:]))
    with open_image(path) as image:
        values, _ = read(image)
    assert (values[:32, :32] == 0).all()
    np.testing.assert_array_equal(values[32:], RGB[32:])


# Parts of files


def test_series_levels_and_pages(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, subifds=1, tile=(16, 16), photometric="rgb")
        file.write(RGB[::2, ::2], subfiletype=1, tile=(16, 16), photometric="rgb")
    with open_image(path, Part(level=1)) as image:
        np.testing.assert_array_equal(read(image)[0], RGB[::2, ::2])
    with pytest.raises(ValueError, match="has no level 2; its 2 are 0 to 1"):
        open_image(path, Part(level=2))
    with pytest.raises(ValueError, match="has no series 3"):
        open_image(path, Part(series=3))
    planes = RNG.integers(0, 256, (5, 20, 30), dtype=np.uint8)
    tifffile.imwrite(path, planes, metadata=None, photometric="minisblack")
    with open_image(path) as image:
        np.testing.assert_array_equal(read(image)[0][..., 0], planes[0])
        assert image.notes == ("Only the first of 5 pages was read.",)
    with open_image(path, Part(pages=(1, 4))) as image:
        assert image.grid == (3, 20, 30)
        np.testing.assert_array_equal(read(image, 700)[0][..., 0], planes[1:4])
    with pytest.raises(ValueError, match="has no pages 3 to 7; its 5 are 0 to 4"):
        open_image(path, Part(pages=(3, 8)))


def test_ome_tiff_says_what_its_pages_are(tmp_path):
    stack = RNG.integers(0, 60_000, (4, 3, 20, 30), dtype=np.uint16)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "ZCYX"}, tile=(16, 16))
    with open_image(path) as image:
        assert (image.grid, image.n_channels, image.channel_axis) == ((4, 20, 30), 3, 3)
        np.testing.assert_array_equal(read(image, 900)[0], np.moveaxis(stack, 1, -1))
    with open_image(path, Part(pages=(2, 3))) as image:
        np.testing.assert_array_equal(read(image)[0][..., 0], stack[0, 2])
    whole = read_image(path)
    assert (whole.grid, whole.channel_axis) == ((4, 20, 30), 3)
    np.testing.assert_array_equal(whole.pixels, np.moveaxis(stack, 1, -1))


def test_channels_in_an_order_of_ones_own(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, tile=(16, 16), photometric="rgb")
    with open_image(tmp_path / "a.tif", Part(channels=(2, 0))) as image:
        np.testing.assert_array_equal(read(image)[0], RGB[..., [2, 0]])
    with pytest.raises(ValueError, match=r"has no channel 3; its 3 channels are 0 to 2"):
        open_image(tmp_path / "a.tif", Part(channels=(0, 3)))


def test_several_files_as_the_channels_of_one(tmp_path):
    np.save(tmp_path / "a.npy", RGB)
    tifffile.imwrite(tmp_path / "b.tif", RGB[..., 0].astype(np.uint16), tile=(16, 16))
    with open_image([tmp_path / "a.npy", tmp_path / "b.tif"]) as image:
        values, _ = read(image)
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(values, np.dstack([RGB, RGB[..., 0]]))
    np.save(tmp_path / "c.npy", RGB[1:])
    with pytest.raises(ValueError, match="resample it to that grid first"):
        open_image([tmp_path / "a.npy", tmp_path / "c.npy"])


def test_parts_that_a_format_does_not_have(tmp_path):
    np.save(tmp_path / "a.npy", RGB)
    pillow.fromarray(RGB).save(tmp_path / "a.png")
    for name in ("a.npy", "a.png"):
        with pytest.raises(ValueError, match=r"leave out level \(--level\)"):
            open_image(tmp_path / name, Part(level=1))


def test_pages_of_a_kind_that_is_not_read_so_are_read_as_a_whole(tmp_path):
    pillow.fromarray(RGB).convert("CMYK").save(tmp_path / "a.tif")
    with pytest.raises(NotInPieces):
        open_chunks(str(tmp_path / "a.tif"), Part())
    with open_image(tmp_path / "a.tif") as image:
        assert read(image)[0].shape == RGB.shape
        assert "CMYK" in image.notes[0]


# npy and whole formats


@pytest.mark.parametrize("array", [RGB, RGB[..., 0], np.asfortranarray(RGB[..., 0]), RGB > 99])
def test_npy(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with open_image(tmp_path / "a.npy") as image:
        values, _ = read(image, 500)
    np.testing.assert_array_equal(values, array.reshape(*array.shape[:2], -1))


def test_part_of_the_columns_of_an_npy_file(tmp_path):
    np.save(tmp_path / "a.npy", RGB.astype(">u2"))
    with open_image(tmp_path / "a.npy") as image:
        values, _ = image.read((slice(3, 40), slice(10, 33)))
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(values, RGB[3:40, 10:33])


def test_whole_formats_are_read_in_regions_too(tmp_path):
    pillow.fromarray(RGB).save(tmp_path / "a.png")
    with open_image(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(read(image)[0], RGB)


# Writing


def written(path, labels, limit=600, **options):
    options = {"legend": Legend(COLORS)} | options
    plan = LabelPlan(labels.shape, labels.dtype, **options)
    with create_labels(path, plan, overwrite=True) as writer:
        step = cut(labels.shape, writer.block, (1,) * labels.ndim, 1, limit)
        for region in reversed(regions(labels.shape, step)):  # in any order
            writer.write(region, writer.encode(region, labels[region]))
        writer.finish()
    return path


@pytest.mark.parametrize("compression", [None, "deflate", "zstd", "none"])
def test_tiff_is_tiled_and_shows_the_colours(tmp_path, compression):
    path = written(tmp_path / "a.tif", LABELS, compression=compression)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert page.is_tiled
        assert not file.is_bigtiff
        np.testing.assert_array_equal(page.asarray(), LABELS)
        np.testing.assert_array_equal(page.colormap[:, :5].T >> 8, COLORS)
    if compression != "zstd":  # a codec that not every Pillow has
        with pillow.open(path) as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.array(picture), LABELS)
            np.testing.assert_array_equal(np.array(picture.convert("RGB")), COLORS[LABELS])


def test_tiff_of_many_labels_is_grey_with_16_bits(tmp_path):
    labels = RNG.integers(0, 60_000, (300, 530), dtype=np.uint16)
    path = written(tmp_path / "a.tif", labels, legend=Legend(None))
    np.testing.assert_array_equal(tifffile.imread(path), labels)


def test_planes_are_pages(tmp_path):
    labels = RNG.integers(0, 5, (3, 4, 50, 60), dtype=np.uint8)
    with tifffile.TiffFile(written(tmp_path / "a.tif", labels, limit=2000)) as file:
        pages = np.stack([page.asarray() for page in file.pages])
    np.testing.assert_array_equal(pages, labels.reshape(12, 50, 60))


def test_a_pyramid_holds_every_second_label_of_the_level_before(tmp_path):
    labels = np.repeat(np.repeat(LABELS, 25, axis=0), 23, axis=1)[:1601, :2090]
    with tifffile.TiffFile(written(tmp_path / "a.tif", labels, limit=2**20, pyramid=True)) as file:
        shapes = [page.shape for page in file.pages]
        assert shapes == [(1601, 2090), (801, 1045), (401, 523), (201, 262)]
        assert [page.is_reduced for page in file.pages] == [False, True, True, True]
        for number, page in enumerate(file.pages):
            np.testing.assert_array_equal(page.asarray(), labels[:: 2**number, :: 2**number])


def test_more_than_four_gigabytes_is_big_tiff(tmp_path):
    plan = LabelPlan((70_000, 70_000), np.dtype(np.uint8), Legend(COLORS))
    writing = create_labels(tmp_path / "a.tif", plan)
    writer = writing.__enter__()
    writer._file.flush()
    assert next(tmp_path.glob(".*")).read_bytes()[:4] == b"II" + struct.pack("<H", 43)
    assert not writing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert list(tmp_path.iterdir()) == []


def test_tiles_follow_the_blocks_of_the_image(tmp_path):
    for block, expected in [((256, 256), (256, 256)), ((1024, 1024), (1024, 1024)),
                            ((64, 64), (512, 512)), ((100, 100), (512, 512))]:  # fmt: skip
        tifffile.imwrite(tmp_path / "in.tif", RGB[..., 0], tile=(16, 16))
        with open_image(tmp_path / "in.tif") as like:
            like.block = block
            plan = LabelPlan((5000, 5000), np.dtype(np.uint8), Legend(COLORS), like)
            with create_labels(tmp_path / "a.tif", plan, overwrite=True) as writer:
                assert writer.block == expected
                writer.finish()


@pytest.mark.parametrize("shape", [(70, 91), (5, 14, 13)])
def test_npy_is_what_numpy_writes(tmp_path, shape):
    labels = LABELS.ravel()[: math.prod(shape)].reshape(shape)
    written(tmp_path / "a.npy", labels, limit=100)
    np.save(tmp_path / "b.npy", labels)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_formats_that_are_written_as_a_whole(tmp_path):
    written(tmp_path / "a.png", LABELS)
    write_labels(tmp_path / "b.png", LABELS, colors=COLORS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.npy", {"pyramid": True}, r"pyramid \(--pyramid\) is for \.tif"),
        ("a.png", {"compression": "zstd"}, r"compression \(--compression\) is for"),
        ("a.tif", {"compression": "jpeg"}, "one of deflate, zstd, none, got 'jpeg'"),
    ],
)
def test_what_a_format_cannot_do(tmp_path, name, options, words):
    with pytest.raises(ValueError, match=words):
        written(tmp_path / name, LABELS, **options)
    assert list(tmp_path.iterdir()) == []


# Damage


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 8}])
def test_a_damaged_segment_is_named(tmp_path, layout):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, compression="zlib", photometric="rgb", **layout)
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[3] + 10
    content = bytearray(path.read_bytes())
    content[place : place + 20] = b"\xff" * 20
    path.write_bytes(content)
    with open_image(path) as image:
        image.read(tuple(slice(0, size) for size in image.block))
        with pytest.raises(DamagedBlock, match=r"a\.tif: the (tile|strip) 3, at row \d+ and col"):
            read(image)


def test_all_regions_have_the_shape_they_say():
    for region in regions((7, 5), (3, 2)):
        assert all(size > 0 for size in shape_of(region))
