"""Pictures that are refused: one clear line that names the file and the fix."""

from __future__ import annotations

import os
import struct
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image as pillow
from PIL import ImageFile

from fastseg.io import read_image

RNG = np.random.default_rng(6)
RGB = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
FORMATS = ["png", "jpg", "webp", "bmp", "gif", "tif"]


def refused(path, *words, errors=(ValueError, OSError)) -> str:
    """The message of the refusal: one line that names the file and says the words."""
    with pytest.raises(errors) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def test_a_missing_file(tmp_path):
    refused(tmp_path / "none.png", "no such file", errors=FileNotFoundError)


def test_a_folder(tmp_path):
    (tmp_path / "a.png").mkdir()
    refused(tmp_path / "a.png", "is a folder", errors=IsADirectoryError)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_a_file_without_permission(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.png").chmod(0)
    refused(tmp_path / "a.png", "no permission", errors=PermissionError)


@pytest.mark.parametrize("name", ["a.xyz", "a"])
def test_an_unknown_suffix_lists_the_known_ones(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    refused(tmp_path / name, "suffix", ".csv, .dcm, .gif, .hdr, .img, .jp2, .jpeg, .jpg, ")


@pytest.mark.parametrize("suffix", [*FORMATS, "csv", "npy"])
def test_an_empty_file(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").touch()
    refused(tmp_path / f"a.{suffix}", "the file is empty")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_no_known_format(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(b"<html>not found</html>")
    refused(tmp_path / f"a.{suffix}", "is not a ")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.02, 0.1, 0.3, 0.6, 0.9, 0.98])
def test_a_truncated_file(tmp_path, suffix, kept):
    path = tmp_path / f"a.{suffix}"
    pillow.fromarray(RGB).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_in_a_program_that_lets_pillow_load_those(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a.{suffix}"
    pillow.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    refused(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_png_without_its_last_chunk(tmp_path):
    path = tmp_path / "a.png"
    pillow.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[:-12])
    refused(path, "truncated")


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw", "packbits"])
@pytest.mark.parametrize("cut", [1, 100, 3000])
def test_a_truncated_tiff_says_nothing_beside_the_error(tmp_path, compression, cut, capfd):
    # The directory stands before the data here: a reader gets far before it notices.
    tifffile = pytest.importorskip("tifffile")
    names = {"tiff_adobe_deflate": "zlib", "tiff_lzw": "lzw", "packbits": "packbits", None: None}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, compression=names[compression], rowsperstrip=8)
    path.write_bytes(path.read_bytes()[:-cut])
    refused(path, "truncated")
    assert capfd.readouterr() == ("", "")


def test_one_flipped_bit_anywhere_in_a_png(tmp_path):
    path = tmp_path / "a.png"
    pillow.fromarray(RGB).save(path)
    content = path.read_bytes()
    for position in [*range(8, 60), *range(60, len(content), 97), len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        refused(path)


def with_size(png: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its header, and the right checksum."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_a_png_whose_rows_end_early(tmp_path, mode):
    # All checksums are right, and Pillow would leave the other rows black.
    path = tmp_path / "a.png"
    pillow.fromarray(RGB[:20]).convert(mode).save(path)
    path.write_bytes(with_size(path.read_bytes(), 60, 21))
    refused(path, "truncated")


def test_a_png_with_black_rows_is_whole(tmp_path):
    path = tmp_path / "a.png"
    black = np.where(np.arange(40)[:, None, None] < 20, RGB, 0).astype(np.uint8)
    pillow.fromarray(black).save(path)
    np.testing.assert_array_equal(read_image(path).pixels, black)


@pytest.mark.parametrize("suffix", FORMATS)
def test_random_damage_never_raises_anything_else(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    pillow.fromarray(RGB[:12, :10]).save(path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(150):
        damaged = content.copy()
        where = RNG.integers(0, min(len(content), 400), 3)
        damaged[where] = RNG.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, on damaged EXIF blocks
                read_image(path, max_pixels=10_000)
        except (ValueError, OSError, ImportError) as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_decompression_bomb(tmp_path, suffix, monkeypatch):
    # Pillow's limit, from the first pixel above it, where Pillow itself only warns.
    path = tmp_path / f"a.{suffix}"
    pillow.fromarray(RGB).save(path)
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 40 * 60 - 1)
    refused(path, "40", "60", "2,400", "2,399", "--max-pixels 2400")
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 100)
    refused(path, "--max-pixels")
    assert read_image(path, max_pixels=2400).grid == (40, 60)
    assert pillow.MAX_IMAGE_PIXELS == 100
    with pytest.raises(ValueError, match="limit of 2,399"):
        read_image(path, max_pixels=2399)


def test_a_header_that_claims_a_huge_picture_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.png"
    pillow.fromarray(RGB).save(path)
    path.write_bytes(with_size(path.read_bytes(), 2**31 - 1, 2**31 - 1))
    refused(path, "2147483647 x 2147483647")


def test_raised_limits_in_threads_leave_pillow_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.webp"
    pillow.fromarray(RGB).save(path)
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 1000)
    grids: list[tuple[int, ...]] = []

    def work(limit: int) -> None:
        for _ in range(50):
            grids.append(read_image(path, max_pixels=limit).grid)

    threads = [threading.Thread(target=work, args=(2400 + i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        refused(path, "--max-pixels")  # meanwhile, by who did not raise it
    for thread in threads:
        thread.join()
    assert grids == [(40, 60)] * 200
    assert pillow.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize(("name", "missing"), [("a.png", "imagecodecs"), ("a.tif", "tifffile")])
def test_16_bit_colour_names_the_extra_it_needs(tmp_path, monkeypatch, name, missing):
    module = pytest.importorskip(missing)
    array = RGB.astype(np.uint16) * 257
    if missing == "tifffile":
        module.imwrite(tmp_path / name, array)
    else:
        (tmp_path / name).write_bytes(module.png_encode(array))
    monkeypatch.setitem(sys.modules, missing, None)
    refused(tmp_path / name, missing, 'pip install "fastseg[deep]"', errors=ImportError)


def test_a_tiff_of_other_deep_colours(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    array = RNG.integers(0, 65536, (8, 9, 4), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="separated")
    refused(tmp_path / "a.tif", "convert the file to RGB")
