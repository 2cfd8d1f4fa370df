"""Reading pictures: every mode in its native type, nothing reduced, nothing half read."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow
from PIL import ImageOps

from fastseg.io import read_image, read_mask

imagecodecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (11, 17), dtype=np.uint8)
RGB = RNG.integers(0, 256, (11, 17, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (11, 17), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (11, 17, 3), dtype=np.uint16)
ALPHA = RNG.choice(np.array([0, 1, 255], np.uint8), (11, 17))


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    picture = pillow.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


def indexed(path: Path, **options: object) -> tuple[Path, np.ndarray, np.ndarray]:
    """A picture of five palette colours, its indices and its palette."""
    indices = RNG.integers(0, 5, (11, 17), dtype=np.uint8)
    palette = RNG.integers(0, 256, (5, 3), dtype=np.uint8)
    picture = pillow.frombytes("P", (17, 11), indices.tobytes())
    picture.putpalette(palette.tobytes())
    picture.save(path, **options)
    return path, indices, palette


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(rows: list[bytes], width: int, depth: int, color_type: int, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def adam7_bytes(array: np.ndarray) -> bytes:
    """An interlaced PNG, which Pillow cannot write."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
    rows = [
        b"\0" + row.tobytes()
        for left, top, right, down in [*passes, (1, 0, 2, 2), (0, 1, 1, 2)]
        for row in array[top::down, left::right]
        if row.size
    ]
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if array.ndim == 3 else 0, 0, 0, 1)
    data = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp"])
def test_rgb_is_read_as_it_is(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    image = read_image(save(tmp_path / f"a.{suffix}", RGB, **options))
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.pixels.dtype == np.uint8
    assert (image.channel_axis, image.valid, image.notes) == (2, None, ())
    assert (image.grid, image.n_channels) == ((11, 17), 3)


@pytest.mark.parametrize("size", [(11, 17), (1, 1), (8, 8), (2, 3), (9, 1)])
@pytest.mark.parametrize("array", [GREY, RGB])
def test_interlaced_png(tmp_path, array, size):
    array = array[: size[0], : size[1]]
    (tmp_path / "a.png").write_bytes(adam7_bytes(array))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, array)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_jpeg_is_read_as_pillow_decodes_it(tmp_path, name):
    path = save(tmp_path / name, RGB)
    with pillow.open(path) as picture:
        np.testing.assert_array_equal(read_image(path).pixels, np.asarray(picture))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_grey_has_no_channel_axis(tmp_path, suffix):
    image = read_image(str(save(tmp_path / f"a.{suffix}", GREY)))
    np.testing.assert_array_equal(image.pixels, GREY)
    assert (image.channel_axis, image.grid, image.n_channels) == (None, (11, 17), 1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_one_bit_is_black_and_white(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    pillow.fromarray(GREY).convert("1", dither=pillow.Dither.NONE).save(path)
    np.testing.assert_array_equal(read_image(path).pixels, np.where(GREY > 127, 255, 0))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_a_palette_gives_its_colours(tmp_path, suffix):
    path, indices, palette = indexed(tmp_path / f"a.{suffix}")
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, palette[indices])
    assert image.valid is None


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_transparent_palette_colour_is_left_out(tmp_path, suffix):
    path, indices, palette = indexed(tmp_path / f"a.{suffix}", transparency=3)
    image = read_image(path)
    np.testing.assert_array_equal(image.valid, indices != 3)
    np.testing.assert_array_equal(image.pixels[image.valid], palette[indices[image.valid]])


def test_alpha_0_is_left_out_and_alpha_is_no_channel(tmp_path):
    image = read_image(save(tmp_path / "a.png", np.dstack([RGB, ALPHA])))
    np.testing.assert_array_equal(image.pixels, RGB)
    np.testing.assert_array_equal(image.valid, ALPHA != 0)


def test_grey_with_alpha_is_one_channel(tmp_path):
    image = read_image(save(tmp_path / "a.png", np.dstack([GREY, ALPHA])))
    np.testing.assert_array_equal(image.pixels, GREY)
    np.testing.assert_array_equal(image.valid, ALPHA != 0)


@pytest.mark.parametrize(("depth", "packed"), [(1, 0b01010000), (2, 0b00011011)])
def test_the_transparent_grey_of_a_png_is_left_out(tmp_path, depth, packed):
    key = chunk(b"tRNS", struct.pack(">H", 1))
    (tmp_path / "a.png").write_bytes(png_bytes([bytes([packed])], 4, depth, 0, key))
    image = read_image(tmp_path / "a.png")
    expected = {1: [0, 255, 0, 255], 2: [0, 85, 170, 255]}[depth]
    assert image.pixels.tolist() == [expected]
    assert image.valid.tolist() == [[value != expected[1] for value in expected]]


@pytest.mark.parametrize(("color_type", "array"), [(0, GREY16), (2, RGB16)])
def test_the_transparent_colour_of_a_16_bit_png_is_left_out(tmp_path, color_type, array):
    rows = [row.astype(">u2").tobytes() for row in array]
    key = chunk(b"tRNS", array[2, 3:4].astype(">u2").tobytes())
    (tmp_path / "a.png").write_bytes(png_bytes(rows, 17, 16, color_type, key))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.pixels, array)
    assert np.argwhere(~image.valid).tolist() == [[2, 3]]


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_16_bits(tmp_path, n_channels):
    array = RNG.integers(0, 65536, (11, 17, n_channels), dtype=np.uint16)
    array[0, 0, -1] = 0
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(array if n_channels > 1 else array[..., 0]))
    image = read_image(path)
    colors = array[..., :3] if n_channels > 2 else array[..., 0]
    np.testing.assert_array_equal(image.pixels, colors)
    assert image.pixels.dtype == np.uint16
    if n_channels in (2, 4):
        np.testing.assert_array_equal(image.valid, array[..., -1] != 0)
    else:
        assert image.valid is None


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_tiff_keeps_its_dtype(tmp_path, dtype, byteorder):
    array = RNG.integers(0, 100, (11, 17)).astype(dtype)
    if dtype[0] != "f":
        array[0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder)
    pixels = read_image(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(pixels, array)
    assert pixels.dtype == np.dtype(dtype)
    assert pixels.dtype.isnative


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("n_channels", [2, 3, 4, 5, 12])
def test_tiff_keeps_all_channels(tmp_path, n_channels, planar, dtype):
    array = RNG.integers(0, 256, (11, 17, n_channels)).astype(dtype)
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, planarconfig=planar, photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, array)
    assert (image.pixels.dtype, image.n_channels, image.valid) == (dtype, n_channels, None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_tiff_channel_is_alpha_only_where_the_file_says_so(tmp_path, dtype):
    array = np.dstack([RGB, ALPHA]).astype(dtype)
    for kind in ("unassalpha", "unspecified"):
        tifffile.imwrite(tmp_path / f"{kind}.tif", array, photometric="rgb", extrasamples=[kind])
    with_alpha = read_image(tmp_path / "unassalpha.tif")
    np.testing.assert_array_equal(with_alpha.pixels, RGB)
    np.testing.assert_array_equal(with_alpha.valid, ALPHA != 0)
    infrared = read_image(tmp_path / "unspecified.tif")
    np.testing.assert_array_equal(infrared.pixels, array)
    assert infrared.valid is None


@pytest.mark.parametrize("array", [GREY, GREY16])
def test_tiff_where_zero_is_white_is_inverted(tmp_path, array):
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif").pixels, np.iinfo(array.dtype).max - array
    )


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif")])
def test_other_colours_become_rgb_and_it_is_said(tmp_path, mode, suffix):
    path = save(tmp_path / f"a.{suffix}", RGB, mode)
    with pillow.open(path) as picture:
        try:
            expected = np.asarray(picture.convert("RGB"))
        except OSError as error:
            pytest.skip(f"this version of Pillow cannot read what it writes: {error}")
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.notes == (f"The {mode} colours were converted to RGB.",)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_said(tmp_path, orientation, suffix):
    exif = pillow.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", RGB, exif=exif)
    image = read_image(path)
    with pillow.open(path) as picture:
        np.testing.assert_array_equal(image.pixels, np.asarray(ImageOps.exif_transpose(picture)))
    said = (f"EXIF orientation {orientation} was applied.",) if orientation > 1 else ()
    assert image.notes == said


def test_exif_orientation_is_applied_to_16_bit_colour(tmp_path):
    exif = pillow.Exif()
    exif[0x0112] = 6
    block = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    rows = [row.astype(">u2").tobytes() for row in RGB16]
    (tmp_path / "a.png").write_bytes(png_bytes(rows, 17, 16, 2, block))
    tifffile.imwrite(tmp_path / "a.tif", RGB16, extratags=[(0x0112, "H", 1, 6, True)])
    for name in ("a.png", "a.tif"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.pixels, np.rot90(RGB16, -1))
        assert image.notes == ("EXIF orientation 6 was applied.",)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_of_several_pictures_is_read_and_it_is_said(tmp_path, suffix):
    frames = [pillow.fromarray(np.roll(RGB, shift, 0)) for shift in range(3)]
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    image = read_image(path)
    assert image.grid == (11, 17)
    if suffix != "gif":  # which had to choose 256 colours
        np.testing.assert_array_equal(image.pixels, RGB)
    what = "pages" if suffix == "tif" else "pictures"
    assert image.notes == (f"Only the first of 3 {what} was read.",)


def test_a_wrong_suffix_is_said(tmp_path):
    image = read_image(save(tmp_path / "a.jpg", RGB, format="PNG"))
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.notes == ("The file is PNG in spite of its name, and was read so.",)


def test_a_mask_keeps_what_is_neither_black_nor_transparent(tmp_path):
    array = np.dstack([RGB, ALPHA])
    array[3, 4] = 0, 0, 0, 255
    array[3, 5] = 0, 7, 0, 255
    expected = ALPHA != 0
    expected[3, 4:6] = False, True
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", array)), expected)


def test_importing_the_package_loads_no_reader():
    code = (
        "import sys, fastseg.io; "
        "print(*sorted({'numpy', 'PIL', 'imagecodecs', 'tifffile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
