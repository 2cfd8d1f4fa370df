"""Writing: labels in three formats, and files that are whole or absent."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from PIL import Image as pillow

from fastseg.io import atomic_write, check_labels, check_output, read_image, write_labels

RNG = np.random.default_rng(8)
LABELS = RNG.integers(0, 5, (11, 17), dtype=np.uint8)
COLORS = RNG.integers(0, 256, (5, 3), dtype=np.uint8)


# Label formats


@pytest.mark.parametrize("n_values", [1, 2, 5, 256])
@pytest.mark.parametrize("shape", [(11, 17), (1, 1), (1, 300), (1300, 900)])
def test_png_holds_labels_as_values_and_colours_as_palette(tmp_path, shape, n_values):
    labels = RNG.integers(0, n_values, shape, dtype=np.uint8)
    colors = RNG.integers(0, 256, (n_values, 3), dtype=np.uint8)
    write_labels(tmp_path / "a.png", labels, colors=colors)
    with pillow.open(tmp_path / "a.png") as picture:
        picture.verify()
    with pillow.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.info) == ("P", {})
        np.testing.assert_array_equal(np.asarray(picture), labels)
        assert bytes(picture.getpalette()) == colors.tobytes()
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, colors[labels])


def test_png_is_always_of_8_bits_and_understood_by_another_decoder(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    write_labels(tmp_path / "a.png", LABELS % 2, colors=COLORS[:2])
    content = (tmp_path / "a.png").read_bytes()
    assert content[24:26] == bytes([8, 3])  # bits, indexed
    np.testing.assert_array_equal(imagecodecs.png_decode(content)[..., :3], COLORS[LABELS % 2])


def test_left_out_pixels_are_transparent(tmp_path):
    write_labels(tmp_path / "a.png", LABELS, colors=COLORS, left_out=True)
    with pillow.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), LABELS)
        assert picture.info["transparency"] == 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").valid, LABELS != 0)


def test_without_colours_the_palette_is_a_grey_ramp(tmp_path):
    write_labels(tmp_path / "a.png", LABELS)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png").pixels[..., 0], np.array([0, 64, 128, 191, 255])[LABELS]
    )


@pytest.mark.parametrize("suffix", ["tif", "tiff", "TIF"])
@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_tiff_without_colours_holds_labels_as_grey_values(tmp_path, suffix, top, dtype):
    labels = RNG.integers(0, top + 1, (11, 17)).astype(np.uint32)
    labels[0, 0] = top
    write_labels(tmp_path / f"a.{suffix}", labels)
    pixels = read_image(tmp_path / f"a.{suffix}").pixels
    np.testing.assert_array_equal(pixels, labels)
    assert pixels.dtype == dtype


def test_tiff_holds_labels_as_values_and_colours_as_palette(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS, colors=COLORS)
    with pillow.open(tmp_path / "a.tif") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), LABELS)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, COLORS[LABELS])


@pytest.mark.parametrize("shape", [(11, 17), (3, 4, 5), (7,)])
def test_npy_holds_labels_of_any_shape_as_they_are(tmp_path, shape):
    labels = RNG.integers(0, 300, shape, dtype=np.uint16)
    write_labels(tmp_path / "a.npy", labels)
    loaded = np.load(tmp_path / "a.npy")
    np.testing.assert_array_equal(loaded, labels)
    assert loaded.dtype == np.uint16


@pytest.mark.parametrize(
    ("name", "labels", "options", "words"),
    [
        ("a.png", np.full((2, 2), 256), {}, "257; write them as .tif or .npy"),
        ("a.png", LABELS, {"colors": np.zeros((257, 3), np.uint8)}, ".tif or .npy"),
        ("a.tif", np.full((2, 2), 65536), {}, "write them as .npy"),
        ("a.png", np.ones((2, 2, 2), int), {}, r"shape \(2, 2, 2\); write them as .npy"),
        ("a.tif", np.ones(5, int), {}, r"shape \(5,\); write them as .npy"),
        ("a.png", LABELS, {"colors": COLORS[:4]}, "4 colors, but labels up to 4"),
        ("a.png", LABELS, {"colors": COLORS.astype(int)}, "uint8"),
        ("a.png", LABELS.astype(float), {}, "integers"),
        ("a.npy", LABELS.astype(int) - 1, {}, "at least 0"),
        ("a.png", LABELS[:0], {}, "at least one"),
        ("a.jpg", LABELS, {}, "'.jpg'; what can be written is .nii, .nii.gz, .npy, .png"),
        ("a", LABELS, {}, "no suffix"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path, name, labels, options, words
):
    with pytest.raises(ValueError, match=words) as caught:
        write_labels(tmp_path / name, labels, **options)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert os.listdir(tmp_path) == []


def test_what_does_not_fit_is_known_before_the_labels_are(tmp_path):
    check_labels(tmp_path / "a.png", 256, (11, 17))
    check_labels(tmp_path / "a.npy", 10**9, (3, 4, 5))
    with pytest.raises(ValueError, match=r"\.tif or \.npy"):
        check_labels(tmp_path / "a.png", 257)
    with pytest.raises(ValueError, match="two-dimensional"):
        check_labels(tmp_path / "a.png", 5, (3, 4, 5))


# Whole or absent


def test_an_existing_file_is_replaced_only_when_told(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"--overwrite \(in Python: overwrite=True\)"):
        write_labels(path, LABELS)
    assert path.read_bytes() == b"old"
    write_labels(path, LABELS, overwrite=True)
    np.testing.assert_array_equal(np.load(path), LABELS)
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [True, False])
def test_what_goes_wrong_half_way_leaves_things_as_they_were(tmp_path, error, old):
    path = tmp_path / "a.npy"
    if old:
        path.write_bytes(b"old")

    def fail() -> None:
        with atomic_write(path, overwrite=True) as file:
            file.write(b"half")
            file.flush()
            assert len(os.listdir(tmp_path)) == 1 + old
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == ["a.npy"] * old
    assert not old or path.read_bytes() == b"old"


def test_the_file_is_not_there_before_it_is_whole(tmp_path):
    with atomic_write(tmp_path / "a.npy") as file:
        file.write(b"half")
        assert not (tmp_path / "a.npy").exists()
    assert (tmp_path / "a.npy").read_bytes() == b"half"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    def write() -> None:
        with atomic_write(tmp_path / "a.npy") as file:
            file.write(b"ours")
            (tmp_path / "a.npy").write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        write()
    assert (tmp_path / "a.npy").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_mode_follows_the_umask_and_links_stay(tmp_path):
    before = os.umask(0o027)
    try:
        write_labels(tmp_path / "a.npy", LABELS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.npy").stat().st_mode) == 0o640
    (tmp_path / "link.npy").symlink_to("a.npy")
    write_labels(tmp_path / "link.npy", LABELS + 1, overwrite=True)
    assert (tmp_path / "link.npy").is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), LABELS + 1)


def test_a_name_as_long_as_allowed(tmp_path):
    name = "a" * 251 + ".npy"
    write_labels(tmp_path / name, LABELS)
    assert os.listdir(tmp_path) == [name]


def test_outputs_that_cannot_be_are_refused_before_the_work(tmp_path):
    source = tmp_path / "in.npy"
    source.write_bytes(b"input")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder .*none does not exist"):
        check_output(tmp_path / "none" / "a.png")
    with pytest.raises(NotADirectoryError, match=r"in\.npy is not a folder"):
        check_output(source / "a.png")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_output(tmp_path / "folder.png", overwrite=True)
    with pytest.raises(FileExistsError, match="exists already"):
        check_output(source)
    with pytest.raises(ValueError, match=r"'\.jpg'; what can be written is \.npy, \.png"):
        check_output(tmp_path / "a.jpg", suffixes=[".png", ".npy"])
    (tmp_path / "same.npy").hardlink_to(source)
    with pytest.raises(ValueError, match="is also an input"):
        check_output(tmp_path / "same.npy", overwrite=True, inputs=[source])
    check_output(source, overwrite=True)
    check_output(tmp_path / "new.npy", inputs=[source, tmp_path / "none.npy"])
    assert sorted(os.listdir(tmp_path)) == ["folder.png", "in.npy", "same.npy"]


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no /dev/null")
def test_a_device_is_not_replaced():
    with pytest.raises(ValueError, match="not an ordinary file"):
        check_output("/dev/null", overwrite=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="no permission"):
        check_output(tmp_path / "a.png")
