"""Rasters that lie on the ground: which reader takes a file, what it reads, where labels lie."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import tifffile
from affine import Affine
from large_files import HEIGHT, PLACE, WIDTH, picture, write_geo
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from fastseg.io import read_image
from fastseg.io.chunked import LabelPlan, Part, regions
from fastseg.io.image import Legend
from fastseg.io.opening import create_labels, open_image, reader_of
from fastseg.streaming.segment import segment_file

COLORS = np.random.default_rng(3).integers(0, 256, (5, 3), dtype=np.uint8)


def whole(image):
    return image.read(tuple(slice(0, n) for n in image.grid))


def label(path, source, part=Part()):  # noqa: B008
    """Write labels of an image; returns them as another library opens them."""
    with open_image(source, part) as like:
        labels = picture(*like.grid) % 5
        plan = LabelPlan(like.grid, np.dtype(np.uint8), Legend(COLORS, True), like)
        with create_labels(path, plan) as writer:
            for region in regions(like.grid, writer.block):
                writer.write(region, writer.encode(region, labels[region]))
            writer.finish()
    return rasterio.open(path)


@pytest.fixture
def without_rasterio(monkeypatch):
    """An installation that has tifffile alone."""
    found = __import__("fastseg.io.opening", fromlist=["find_spec"]).find_spec
    monkeypatch.setattr(
        "fastseg.io.opening.find_spec", lambda name: None if name == "rasterio" else found(name)
    )


# Who reads what


def test_gdal_reads_what_lies_on_the_ground_and_tifffile_the_rest(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", picture(20, 30))
    write_geo(tmp_path / "geo.tif", picture(1, 20, 30))
    write_geo(tmp_path / "big.tif", picture(1, 20, 30), BIGTIFF="YES", ENDIANNESS="BIG")
    assert reader_of(str(tmp_path / "plain.tif")) == "tiff_chunks"
    assert reader_of(str(tmp_path / "geo.tif")) == "geo_chunks"
    assert reader_of(str(tmp_path / "big.tif")) == "geo_chunks"
    assert reader_of(str(tmp_path / "geo.tif"), Part(pages=(0, 1))) == "tiff_chunks"


def test_codecs_that_gdal_does_not_have_are_left_to_tifffile(tmp_path):
    with rasterio.open(write_geo(tmp_path / "geo.tif", picture(1, 20, 30))):
        pass
    with tifffile.TiffFile(tmp_path / "geo.tif") as file:
        place = [
            (tag.code, int(tag.dtype), tag.count, tag.value, True)
            for tag in file.pages[0].tags
            if tag.code in (33550, 33922, 34735)
        ]
    values = picture(64, 64, 3)
    tifffile.imwrite(
        tmp_path / "a.tif", values, compression="jpegxl", compressionargs={"lossless": True},
        tile=(32, 32), photometric="rgb", extratags=place, metadata=None,
    )  # fmt: skip
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(whole(image)[0], values)
    with label(tmp_path / "out.tif", tmp_path / "a.tif") as labels:
        assert labels.transform == PLACE


@pytest.mark.usefixtures("without_rasterio")
def test_without_rasterio_place_and_nodata_are_kept_all_the_same(tmp_path):
    values = picture(3, HEIGHT, WIDTH) % 4
    path = write_geo(tmp_path / "a.tif", values, nodata=3)
    with open_image(path) as image:
        assert type(image).__name__ == "TiffChunks"
        np.testing.assert_array_equal(whole(image)[0], np.moveaxis(values, 0, -1))
        assert image.nodata == 3
    with label(tmp_path / "out.tif", path) as labels:
        assert (labels.crs, labels.transform) == (rasterio.CRS.from_epsg(32633), PLACE)
    (valid,) = [read_image(path).valid]
    np.testing.assert_array_equal(valid, (values != 3).any(axis=0))


def test_other_rasters_need_rasterio(tmp_path, monkeypatch):
    write_geo(tmp_path / "a.jp2", picture(1, 64, 64), "JP2OpenJPEG")
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(ImportError, match=r'a\.jp2: .* pip install "fastseg\[geo\]"'):
        open_image(tmp_path / "a.jp2")


# What is read


def test_pixels_of_no_data_in_all_bands_are_left_out(tmp_path):
    values = (picture(2, HEIGHT, WIDTH) % 3).astype(np.int16) - 1
    path = write_geo(tmp_path / "a.tif", values, nodata=-1)
    with open_image(path) as image:
        assert image.nodata == -1
    image = read_image(path)
    np.testing.assert_array_equal(image.valid, (values != -1).any(axis=0))
    assert 0 < image.valid.sum() < image.valid.size
    with open_image(path, Part(channels=(1,))) as image:  # of the bands that are read
        assert (image.nodata, image.n_channels) == (-1, 1)


@pytest.mark.parametrize("nodata", [-9999, float("nan"), None])
def test_a_value_that_cannot_occur_leaves_nothing_out(tmp_path, nodata):
    dtype, path = "uint8" if nodata == -9999 else "float32", tmp_path / "a.tif"
    tags = [(33550, 12, 3, (1.0, 1.0, 0.0), True), (33922, 12, 6, (0.0,) * 6, True)]
    if nodata is not None:
        tags.append((42113, 2, 0, str(nodata), True))
    tifffile.imwrite(path, picture(20, 30, dtype=dtype), extratags=tags, metadata=None)
    assert reader_of(str(path)) == "geo_chunks"
    with open_image(path) as image:
        assert image.nodata is None
        assert not image.may_hide


def test_bands_with_scales_are_meant_in_units(tmp_path):
    path = write_geo(tmp_path / "a.tif", picture(2, 40, 50, dtype="uint16"), nodata=7)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5, 0.01), (-10, 2)
    with open_image(path, Part(channels=(1, 0))) as image:
        np.testing.assert_array_equal(image.scale, [[0.01, 0.5], [2, -10]])
        values, valid = whole(image)
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(valid, (values != 7).any(axis=-1))  # as the file stores it


def test_scales_that_turn_values_round_are_not_applied_and_said(tmp_path):
    path = write_geo(tmp_path / "a.tif", picture(1, 40, 50))
    with rasterio.open(path, "r+") as file:
        file.scales = (-1,)
    with open_image(path) as image:
        assert image.scale is None
        assert "were not applied" in image.notes[0]


def test_alpha_is_no_band_and_leaves_pixels_out(tmp_path):
    values = picture(4, HEIGHT, WIDTH)
    values[3] = (values[3] > 90) * 255
    path = write_geo(tmp_path / "a.tif", values, photometric="RGB", ALPHA="YES")
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    with open_image(path) as image:
        assert (image.n_channels, image.may_hide) == (3, True)
        got, valid = whole(image)
    np.testing.assert_array_equal(got, np.moveaxis(values[:3], 0, -1))
    np.testing.assert_array_equal(valid, values[3] > 0)


def test_a_colour_table_is_read_as_its_colours(tmp_path):
    values = picture(1, HEIGHT, WIDTH) % 4
    path = write_geo(tmp_path / "a.tif", values)
    table = {0: (0, 0, 0, 0), 1: (9, 8, 7, 255), 2: (1, 2, 3, 255), 3: (200, 100, 0, 255)}
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, table)
    with open_image(path) as image:
        got, valid = whole(image)
    np.testing.assert_array_equal(got[values[0] > 0][:, 0], np.array([0, 9, 1, 200])[
        values[0][values[0] > 0]])  # fmt: skip
    assert valid.all()  # TIFF's colour tables have no alpha
    np.testing.assert_array_equal(read_image(path).pixels, got)


def test_overviews_are_levels(tmp_path):
    values = picture(1, HEIGHT, WIDTH)
    path = write_geo(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    with rasterio.open(path, overview_level=1) as file:
        expected, place = file.read(1), file.transform
    with open_image(path, Part(level=2)) as image:
        np.testing.assert_array_equal(whole(image)[0][..., 0], expected)
    with label(tmp_path / "out.tif", path, Part(level=2)) as labels:
        assert labels.transform.almost_equals(place)
    with pytest.raises(ValueError, match="has no level 3; its 3 are 0 to 2"):
        open_image(path, Part(level=3))


def test_blocks_are_those_of_the_file(tmp_path):
    write_geo(tmp_path / "a.tif", picture(1, HEIGHT, WIDTH))
    write_geo(tmp_path / "b.tif", picture(1, HEIGHT, WIDTH), tiled=False, blockysize=7)
    with open_image(tmp_path / "a.tif") as a, open_image(tmp_path / "b.tif") as b:
        assert (a.block, b.block) == ((48, 64), (7, WIDTH))


def test_complex_values_are_refused(tmp_path):
    path = write_geo(tmp_path / "a.tif", picture(1, 20, 30).astype(np.complex64))
    with pytest.raises(ValueError, match="holds complex64 values; integers or floats are expected"):
        open_image(path)


def test_mosaics_read_no_data_where_no_file_lies(tmp_path):
    values = picture(1, 64, 64) + 1
    write_geo(tmp_path / "a.tif", values, nodata=0)
    (tmp_path / "m.vrt").write_text(
        '<VRTDataset rasterXSize="96" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1">'
        "<NoDataValue>0</NoDataValue><SimpleSource>"
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>'
        '<SrcRect xOff="0" yOff="0" xSize="64" ySize="64"/>'
        '<DstRect xOff="0" yOff="0" xSize="64" ySize="64"/></SimpleSource></VRTRasterBand>'
        "</VRTDataset>"
    )
    image = read_image(tmp_path / "m.vrt")
    np.testing.assert_array_equal(image.valid[:, :64], True)
    np.testing.assert_array_equal(image.valid[:, 64:], False)
    (tmp_path / "a.tif").unlink()
    with open_image(tmp_path / "m.vrt") as image, pytest.raises(ValueError, match=r"a\.tif"):
        whole(image)


# Where labels lie


@pytest.mark.parametrize(
    "transform", [PLACE, Affine(3, 1, 100, -1, -2, 50)], ids=["upright", "turned"]
)
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", None])
def test_labels_lie_where_the_image_lies(tmp_path, transform, crs):
    path = write_geo(tmp_path / "a.tif", picture(2, HEIGHT, WIDTH), transform=transform, crs=crs)
    with label(tmp_path / "out.tif", path) as labels:
        assert labels.transform == transform
        assert labels.crs == (None if crs is None else rasterio.CRS.from_string(crs))
        assert labels.nodata == 0
        assert labels.colormap(1)[4] == (*COLORS[4], 255)
        assert labels.tags().get("AREA_OR_POINT", "Area") == "Area"


def test_points_and_control_points_and_coefficients_are_kept(tmp_path):
    path = write_geo(tmp_path / "a.tif", picture(1, 20, 30))
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    with label(tmp_path / "out.tif", path) as labels:
        assert labels.tags()["AREA_OR_POINT"] == "Point"
        assert labels.transform == PLACE
    points = [GroundControlPoint(r, c, c * 9.0, r * 7.0) for r, c in [(0, 0), (9, 0), (0, 9)]]
    path = write_geo(
        tmp_path / "b.tif", picture(1, 20, 30), transform=None, gcps=points, crs="EPSG:32633"
    )
    with label(tmp_path / "out2.tif", path) as labels:
        got, crs = labels.gcps
        assert [(p.row, p.col, p.x, p.y) for p in got] == [(p.row, p.col, p.x, p.y) for p in points]
        assert crs == rasterio.CRS.from_epsg(32633)


def test_labels_of_a_mosaic_or_jpeg_2000_lie_there_too(tmp_path):
    path = write_geo(tmp_path / "a.tif", picture(1, HEIGHT, WIDTH))
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    write_geo(tmp_path / "a.jp2", picture(1, HEIGHT, WIDTH), "JP2OpenJPEG")
    for name in ("a.vrt", "a.jp2"):
        with label(tmp_path / f"{name}.tif", tmp_path / name) as labels:
            assert (labels.crs, labels.transform) == (rasterio.CRS.from_epsg(32633), PLACE)


def test_files_beside_a_raster_count(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(20, 30))
    assert reader_of(str(tmp_path / "a.tif")) == "tiff_chunks"
    path = write_geo(tmp_path / "b.tif", picture(1, 40, 60), tiled=False)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2])
    assert (tmp_path / "b.tif.ovr").exists()
    with open_image(path, Part(level=1)) as image:
        assert image.grid == (20, 30)


def test_bands_are_chosen_from_file_to_file(tmp_path):
    from fastseg import segment
    from fastseg.streaming.options import FileOptions

    values = picture(6, 90, 110)
    values[:, 20:40] = 0
    path = write_geo(tmp_path / "a.tif", values, nodata=0)
    found = segment_file(
        path, tmp_path / "out.tif", 3, options=FileOptions(channels=(4, 0, 2)), random_state=0
    )
    expected = segment(
        np.moveaxis(values[[4, 0, 2]], 0, -1), 3, channel_axis=-1, nodata=0, random_state=0
    )
    np.testing.assert_array_equal(found.centers, expected.centers)
    with rasterio.open(tmp_path / "out.tif") as labels:
        np.testing.assert_array_equal(labels.read(1), expected.labels)
        assert labels.transform == PLACE
        assert labels.nodata == 0
