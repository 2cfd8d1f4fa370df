"""TIFF of every kind: one image, read as a whole, in regions, or where tifffile is missing."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
from PIL import Image as pillow

from fastseg.io import read_image
from fastseg.io.chunked import Part
from fastseg.io.opening import open_image

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 120, (21, 35), dtype=np.uint8)
RGB = RNG.integers(0, 120, (21, 35, 3), dtype=np.uint8)
COLORS = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
DEEP_COLORS = RNG.integers(0, 65536, (3, 65536), dtype=np.uint16)
ALPHA = RNG.choice(np.array([0, 1, 255], np.uint8), (21, 35))
PLANES = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
TURNED = {5: GREY.T, 6: np.rot90(GREY, -1), 7: np.rot90(GREY, 2).T, 8: np.rot90(GREY)}


def kind(stored, expected, *, alpha=None, **options):
    return stored, expected, alpha, options


KINDS = {
    **{
        f"{dtype}{order}{packing}": kind(
            GREY.astype(dtype), GREY.astype(dtype), byteorder=order, compression=packing
        )
        for dtype in ("u2", "i2", "i4", "f4", "f8")
        for order in "<>"
        for packing in (None, "zlib", "lzw")
    },
    "predictor": kind(GREY.astype("i2"), GREY, byteorder=">", compression="lzw", predictor=True),
    "zstd": kind(RGB, RGB, compression="zstd", photometric="rgb"),
    "planes": kind(PLANES, RGB, photometric="rgb", planarconfig="separate"),
    "alpha": kind(np.dstack([RGB, ALPHA]), RGB, alpha=ALPHA, photometric="rgb",
                  extrasamples=["unassalpha"]),
    "multiplied": kind(np.dstack([RGB, ALPHA]), RGB, alpha=ALPHA, photometric="rgb",
                       extrasamples=["assocalpha"]),
    "plane of alpha": kind(np.stack([GREY, ALPHA]), GREY, alpha=ALPHA, planarconfig="separate",
                           photometric="minisblack", extrasamples=["unassalpha"]),
    "white is zero": kind(GREY, 255 - GREY, photometric="miniswhite"),
    "white is zero, deep": kind(GREY.astype("u2"), 65535 - GREY.astype("u2"),
                                photometric="miniswhite", compression="zlib"),
    "palette": kind(GREY, (COLORS >> 8).T[GREY], colormap=COLORS, compression="lzw"),
    "palette, deep": kind(GREY.astype("u2") * 500, (DEEP_COLORS >> 8).T[GREY.astype("u2") * 500],
                          colormap=DEEP_COLORS),
    "4 bits": kind(GREY % 16, GREY % 16 * 17, bitspersample=4),
    "12 bits": kind(GREY.astype("u2") * 30, GREY.astype("u2") * 30, bitspersample=12),
    "12 bits, white is zero": kind(GREY.astype("u2"), 4095 - GREY.astype("u2"), bitspersample=12,
                                   photometric="miniswhite"),
    **{
        f"turned {turn} {packing}": kind(
            GREY, expected, compression=packing, extratags=[(274, 3, 1, turn, True)]
        )
        for turn, expected in TURNED.items()
        for packing in (None, "zlib")
    },
    "no such turn": kind(GREY, GREY, extratags=[(274, 3, 1, 0, True)]),
    "OME, a stack": kind(np.stack([GREY, GREY + 1]), np.stack([GREY, GREY + 1]), ome=True,
                         metadata={"axes": "ZYX"}, photometric="minisblack"),
}  # fmt: skip


def write(path, values, bitspersample=None, **options):
    """As tifffile does, which leaves it to new versions of imagecodecs to pack bits."""
    if bitspersample is None:
        tifffile.imwrite(path, values, **options)
        return
    bits = np.unpackbits(values.astype(">u2")[..., None].view(np.uint8), axis=-1)
    rows = np.packbits(bits[..., 16 - bitspersample :].reshape(len(values), -1), axis=-1)
    options |= {"shape": values.shape, "dtype": values.dtype, "bitspersample": bitspersample}
    tifffile.imwrite(path, iter([rows.tobytes()]), **options)


@pytest.fixture(params=KINDS)
def made(request, tmp_path):
    stored, expected, alpha, options = KINDS[request.param]
    write(tmp_path / "a.tif", stored, **options)
    return tmp_path / "a.tif", expected, True if alpha is None else alpha != 0


def check(image, expected, there):
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.valid is None if there is True else np.array_equal(image.valid, there)


def test_a_whole_image_is_what_its_regions_are(made):
    path, expected, there = made
    found = read_image(path)
    check(found, expected, there)
    with open_image(path) as image:
        values, valid = image.read(tuple(slice(0, n) for n in image.grid))
        assert (image.grid, image.notes) == (found.grid, found.notes)
        assert image.channel_axis == found.channel_axis
    np.testing.assert_array_equal(values.reshape(found.pixels.shape), found.pixels)
    assert values.dtype == found.pixels.dtype
    assert valid is None or np.array_equal(valid, np.broadcast_to(there, valid.shape))


def test_pillow_alone_gives_the_same_or_asks_for_tifffile(made, monkeypatch, capfd):
    path, expected, there = made
    notes = read_image(path).notes
    monkeypatch.setitem(sys.modules, "tifffile", None)
    try:
        found = read_image(path)
    except ImportError:
        with pytest.raises(ImportError, match=r'pip install "fastseg\[deep\]"'):
            read_image(path)
    else:
        check(found, expected, there)
        assert found.notes == notes
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("without", [None, "tifffile"])
def test_the_value_for_no_data_counts_wherever_the_image_lies(tmp_path, monkeypatch, without):
    nodata = [(42113, 2, 0, "7", True)]
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=nodata)
    tifffile.imwrite(tmp_path / "b.tif", GREY, extratags=nodata, photometric="miniswhite")
    if without:
        monkeypatch.setitem(sys.modules, without, None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").valid, GREY != 7)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").valid, GREY != 7)


def test_a_picture_that_is_no_tiff_in_spite_of_its_name(tmp_path):
    pillow.fromarray(RGB).save(tmp_path / "a.tif", format="PNG")
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image.read((slice(0, 21), slice(0, 35)))[0], RGB)
        assert image.notes == ("The file is PNG in spite of its name, and was read so.",)


@pytest.mark.parametrize("name", ["4 bits", "turned 6 None"])
def test_levels_of_what_is_read_as_a_whole_alone(tmp_path, name):
    stored, _, _, options = KINDS[name]
    write(tmp_path / "a.tif", stored, **options)
    with pytest.raises(ValueError, match=r"a\.tif: .* as a whole alone; leave out series, level"):
        open_image(tmp_path / "a.tif", Part(level=0))


def test_a_stack_of_too_many_pixels_is_refused(tmp_path):
    stack = np.zeros((3, *GREY.shape), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, ome=True, metadata={"axes": "ZYX"})
    with pytest.raises(ValueError, match=r"35 x 21 x 3 = 2,205 pixels .* --max-pixels 2205 "):
        read_image(tmp_path / "a.tif", max_pixels=2204)
    assert read_image(tmp_path / "a.tif", max_pixels=2205).grid == (3, 21, 35)


def test_no_lock_of_logging_is_taken_for_each_file(tmp_path, monkeypatch):
    """Ctrl-C at the wrong moment would leave it locked, and all threads that log would hang."""
    pillow.new("RGB", (9, 7)).save(tmp_path / "a.tif")
    open_image(tmp_path / "a.tif").close()

    def refuse(*_):
        raise AssertionError("logging is asked")

    with monkeypatch.context() as patch:
        patch.setattr(logging, "getLogger", refuse)
        patch.setattr(logging.Logger, "setLevel", refuse)
        open_image(tmp_path / "a.tif").close()
