"""Whole slides: levels, what was not scanned, the size of a pixel, and handles that broke."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openslide
import pytest
import tifffile
from large_files import WIDTH, picture, spoil_tiff, write_slide

from fastseg import segment
from fastseg.io import read_image
from fastseg.io.chunked import DamagedBlock, LabelPlan, Part, regions
from fastseg.io.opening import create_labels, open_image
from fastseg.streaming.segment import segment_file


def whole(image):
    return image.read(tuple(slice(0, n) for n in image.grid))


def test_openslide_takes_the_files_of_these_tests_for_slides(tmp_path):
    write_slide(tmp_path / "a.svs")
    assert openslide.OpenSlide.detect_format(tmp_path / "a.svs") == "aperio"


def test_levels_are_those_of_the_slide(tmp_path):
    levels = write_slide(tmp_path / "a.svs", (320, 416), 3)
    for number, level in enumerate(levels):
        with open_image(tmp_path / "a.svs", Part(level=number)) as image:
            assert (image.grid, image.notes) == (level.shape[:2], ())
            assert image.block == (64, 64)
            np.testing.assert_array_equal(whole(image)[0], level)
    with pytest.raises(ValueError, match="has no level 3; its 3 are 0 to 2"):
        open_image(tmp_path / "a.svs", Part(level=3))


def test_pixels_of_uneven_levels_do_not_depend_on_the_region(tmp_path):
    write_slide(tmp_path / "a.svs", (301, 503), 2)
    with open_image(tmp_path / "a.svs", Part(level=1)) as image:
        assert "interpolates its pixels" in image.notes[0]
        expected, _ = whole(image)
        for step in ((7, 60), (150, 13), (64, 64)):
            for region in regions(image.grid, step):
                np.testing.assert_array_equal(image.read(region)[0], expected[region])


def test_what_was_not_scanned_is_no_part_of_the_image(tmp_path, monkeypatch):
    write_slide(tmp_path / "a.svs")
    read = openslide.OpenSlide.read_region

    def with_a_gap(self, corner, level, size):
        """The columns from 100 on lie beyond the slide, where OpenSlide's alpha is 0."""
        picture = np.array(read(self, corner, level, size))
        gap = max(0, min(size[0], 100 - corner[0]))
        beyond = np.array(read(self, (WIDTH + 50, 0), level, (1, 1)))
        assert beyond[0, 0, 3] == 0
        picture[:, gap:] = beyond[0, 0]
        return picture

    monkeypatch.setattr(openslide.OpenSlide, "read_region", with_a_gap)
    with open_image(tmp_path / "a.svs") as image:
        assert image.may_hide
        _, valid = whole(image)
    np.testing.assert_array_equal(valid, np.broadcast_to(np.arange(WIDTH) < 100, valid.shape))
    found = segment_file(tmp_path / "a.svs", tmp_path / "out.npy", 3, random_state=0)
    labels = np.load(tmp_path / "out.npy")
    assert found.start_label == 1
    assert (labels[:, 100:] == 0).all()
    assert (labels[:, :100] > 0).all()
    assert found.n_left_out == labels[:, 100:].size


@pytest.mark.parametrize("level", [0, 1])
def test_labels_have_the_size_of_a_pixel(tmp_path, level):
    write_slide(tmp_path / "a.svs", (320, 416), 2)
    with open_image(tmp_path / "a.svs", Part(level=level)) as image:
        plan = LabelPlan(image.grid, np.dtype(np.uint8), like=image)
        with create_labels(tmp_path / "out.tif", plan) as writer:
            for region in regions(image.grid, writer.block):
                labels = np.zeros([part.stop - part.start for part in region], np.uint8)
                writer.write(region, writer.encode(region, labels))
            writer.finish()
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        page = file.pages[0]
        assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        assert page.get_resolution() == pytest.approx([40_000 / 2**level] * 2)  # 0.25 µm


def test_a_damaged_tile_does_not_spoil_the_slide(tmp_path):
    """OpenSlide's handle is of no use after an error, but the next one is."""
    (values,) = write_slide(tmp_path / "a.svs")
    spoil_tiff(0, 5, "", ())(tmp_path / "a.svs")
    good, bad = np.s_[0:64, 0:WIDTH], np.s_[64:128, 64:128]
    with open_image(tmp_path / "a.svs") as image, ThreadPoolExecutor(4) as pool:
        done = [pool.submit(image.read, bad if i % 3 == 0 else good) for i in range(30)]
        for i, future in enumerate(done):
            if i % 3 == 0:
                with pytest.raises(DamagedBlock, match="the tile at row 64 and column 64 of lev"):
                    future.result()
            else:
                np.testing.assert_array_equal(future.result()[0], values[good])


def test_any_other_tiff_is_a_slide_where_its_name_says_so(tmp_path):
    tifffile.imwrite(tmp_path / "a.svs", picture(90, 80, 3), tile=(32, 32), photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.svs").pixels, picture(90, 80, 3))


def test_without_openslide(tmp_path, monkeypatch):
    write_slide(tmp_path / "a.svs")
    monkeypatch.setitem(__import__("sys").modules, "openslide", None)
    with pytest.raises(ImportError, match=r'a\.svs: .* pip install "fastseg\[slides\]"'):
        open_image(tmp_path / "a.svs")


def test_from_file_to_file_the_labels_are_those_of_the_array(tmp_path):
    (values,) = write_slide(tmp_path / "a.svs")
    found = segment_file(tmp_path / "a.svs", tmp_path / "out.npy", 3, random_state=0)
    expected = segment(values, 3, random_state=0)
    np.testing.assert_array_equal(found.centers, expected.centers)
    labels = np.load(tmp_path / "out.npy") - found.start_label
    np.testing.assert_array_equal(labels, expected.labels)
