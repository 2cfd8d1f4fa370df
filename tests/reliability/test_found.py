"""Faults that mutated files have found, each by the smallest file that shows it.

They crashed, hung, warned, gave pixels that nobody had written, or an error of some library's.
"""

import json
import re
import struct
import sys
import warnings
import zlib

import mutation
import nibabel
import numpy as np
import pydicom
import pytest
import rasterio
import tifffile
import zarr
from fuzzed import GREY, RGB, geo_of, make_dicom, make_jpeg_2000, make_vrt, pictures
from large_files import write_ome, write_slide

import fastseg
from fastseg.io import read_image
from fastseg.io.failures import reading, words_of
from fastseg.io.opening import open_image


def refused(path, words, read=read_image):
    """The one line by which a file is refused, and nothing is said beside."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=re.escape(words)) as caught:
            read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert not [str(each.message) + each.filename for each in said]


def png(path, depth, color, *chunks):
    header = struct.pack(">IIBBBBB", 4, 4, depth, color, 0, 0, 0)
    rows = zlib.compress(bytes(100))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    path.write_bytes(mutation._PNG + b"".join(mutation.png_chunk(*part) for part in parts))
    return path


class TestPictures:
    @pytest.mark.parametrize(
        ("depth", "color", "words"),
        [(0, 0, "0 bits and colours of kind 0"), (8, 5, "kind 5"), (8, 3, "it has no palette")],
    )
    def test_a_png_whose_header_cannot_be(self, tmp_path, depth, color, words):
        refused(png(tmp_path / "a.png", depth, color, (b"tRNS", b"\0\1")), words)

    def test_what_decoders_log_is_not_printed(self, tmp_path, capfd):
        pytest.importorskip("imagecodecs")
        path = png(tmp_path / "a.png", 16, 2, (b"tEXt", b"x"))
        content = bytearray(path.read_bytes())
        content[28] = 9  # the interlace method
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        path.write_bytes(content)
        refused(path, "damaged")
        assert capfd.readouterr() == ("", "")

    def test_damage_of_exif_is_no_warning(self, tmp_path):
        tree = pictures(".jpg", "RGB")(tmp_path)[0]
        content = tree["a.jpg"]
        at = content.index(b"Exif\0\0") + 6
        bad = content[: at + 8] + b"\0\x09" + content[at + 10 :]  # entries, of which there is one
        (tmp_path / "a.jpg").write_bytes(bad)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_image(tmp_path / "a.jpg").grid == (23, 19)  # turned all the same


class TestTiff:
    def changed(self, path, name, kind=None, value=None, count=None):
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            at = file.pages[0].tags[name].offset
        if kind is not None:
            struct.pack_into("<H", content, at + 2, kind)
        if count is not None:
            struct.pack_into("<I", content, at + 4, count)
        if value is not None:
            struct.pack_into("<I", content, at + 8, value)
        path.write_bytes(content)
        return path

    @pytest.mark.parametrize("offset", [2**40, 2**62, 2**63 - 1, 2**64 - 1])
    def test_places_where_no_file_reaches(self, tmp_path, offset):
        """Some file systems (ext4) refuse to go there, others do not."""
        (tmp_path / "a.tif").write_bytes(b"II+\0" + struct.pack("<HHQ", 8, 0, offset) + bytes(64))
        refused(tmp_path / "a.tif", "truncated or damaged")

    def test_a_side_that_is_no_whole_number(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression="zlib")
        path = self.changed(tmp_path / "a.tif", "ImageLength", kind=11, value=0x42000001)
        refused(path, "damaged")
        refused(path, "damaged", open_image)

    def test_a_table_of_too_few_colours(self, tmp_path):
        table = np.arange(768, dtype=np.uint16).reshape(3, 256)
        tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=table)
        path = self.changed(tmp_path / "a.tif", "ColorMap", count=3)
        refused(path, "damaged")

    @pytest.mark.parametrize("change", [{"SamplesPerPixel": 1}, {"PlanarConfiguration": 2}])
    def test_gdal_is_not_asked_for_pixels_that_are_not_there(self, tmp_path, change):
        """It answered with whatever lay in memory, another time something else."""
        options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
        geo_of(tmp_path / "a.tif", np.moveaxis(RGB, -1, 0), interleave="pixel", **options)
        for name, value in change.items():
            self.changed(tmp_path / "a.tif", name, value=value)
        refused(tmp_path / "a.tif", "the file is damaged (")

    def test_a_raster_of_tens_of_thousands_of_bands(self, tmp_path):
        geo_of(tmp_path / "a.tif", GREY[None], compress="lzw")
        self.changed(tmp_path / "a.tif", "SamplesPerPixel", value=60_000)
        refused(tmp_path / "a.tif", "holds 60,000 bands, and no more than 4,096 are read")


def test_gdal_is_not_asked_for_what_it_never_answers(tmp_path, monkeypatch):
    """The structure of a damaged JPEG 2000 file: asked for that, it does not come back."""
    path = tmp_path / "a.jp2"
    path.write_bytes(make_jpeg_2000(tmp_path)[0]["a.jp2"])
    asked = []
    tags = rasterio.io.DatasetReader.tags

    class Asked(rasterio.io.DatasetReader):
        def tags(self, *args, **options):
            asked.append(options.get("ns"))
            return tags(self, *args, **options)

    monkeypatch.setattr(rasterio, "open", lambda path, **options: Asked(path))
    assert read_image(path).grid == GREY.shape
    assert "IMAGE_STRUCTURE" not in asked


def test_tiles_for_which_openslide_would_end_the_process(tmp_path):
    write_slide(tmp_path / "a.svs", (70, 90))
    content = bytearray((tmp_path / "a.svs").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.svs") as file:
        tag = file.pages[0].tags["TileLength"]
    struct.pack_into("<HII", content, tag.offset + 2, 4, 1, 2**28)
    (tmp_path / "a.svs").write_bytes(content)
    refused(tmp_path / "a.svs", "tiles of 64 x 268,435,456 pixels", open_image)


class TestVolumes:
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_voxels_that_lie_nowhere(self, tmp_path, suffix):
        volume = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4))
        volume.header["srow_x"] = np.inf
        volume.header["sform_code"] = 1
        volume.affine[0] = np.inf
        volume.to_filename(tmp_path / f"a{suffix}")
        refused(tmp_path / f"a{suffix}", "(the affine is not finite)")

    def test_sides_whose_product_overflows_32_bits(self, tmp_path):
        volume = nibabel.MGHImage(np.zeros((3, 4, 5), np.uint8), np.eye(4))
        content = bytearray(volume.header.binaryblock) + bytes(400)
        struct.pack_into(">iiii", content, 4, 2**16, 2**16, 1, 1)
        (tmp_path / "a.mgh").write_bytes(content)
        refused(tmp_path / "a.mgh", "its 4,294,967,296 values take 4,294,967,296 bytes")

    def test_a_volume_of_no_voxels(self, tmp_path):
        content = bytearray(348 + 4)
        header = nibabel.Nifti1Header()
        header["dim"], header["magic"], header["vox_offset"] = [3, 0, 4, 5, 1, 1, 1, 1], b"n+1", 352
        content[:348] = header.binaryblock
        (tmp_path / "a.nii").write_bytes(content)
        refused(tmp_path / "a.nii", "the image is empty (its shape is (0, 4, 5))", open_image)

    @pytest.mark.parametrize(("old", "new"), [(b"0.8\\1.25", b"0.8\\1\x02\x005"), (b"DS", b"De")])
    def test_numbers_of_dicom_that_are_none(self, tmp_path, old, new):
        content = make_dicom(tmp_path)[1]["series/0.dcm"]
        assert old in content
        (tmp_path / "a.dcm").write_bytes(content.replace(old, new))
        refused(tmp_path / "a.dcm", "cannot be read")
        assert pydicom.config.settings.reading_validation_mode == pydicom.config.WARN


class TestZarr:
    def changed(self, path, change):
        file = path / ".zarray" if (path / ".zarray").exists() else path / "zarr.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
        return path

    @pytest.fixture
    def path(self, tmp_path):
        array = zarr.create_array(
            store=str(tmp_path / "a.zarr"), shape=GREY.shape, chunks=(8, 12), dtype="u1",
            zarr_format=2,
        )  # fmt: skip
        array[:] = GREY
        return tmp_path / "a.zarr"

    def test_chunks_whose_sizes_overflow_are_not_made_up(self, path):
        refused(self.changed(path, {"chunks": [8, 10**400]}), "its sizes are absurd")

    def test_words_of_others_stay_short_and_on_their_line(self, path):
        refused(self.changed(path, {"order": "a\0b" * 3000}), "a\\x00b")

    def test_metadata_as_deep_as_nobody_writes_them(self, path):
        (path / ".zattrs").write_text("[" * 100_000 + "]" * 100_000)
        refused(path, "the Zarr metadata is damaged (")

    @pytest.mark.parametrize("ome", [5, 0.5, "x", []])
    def test_attributes_that_are_no_object(self, tmp_path, ome):
        values = np.zeros((1, 1, 1, 9, 9), np.uint8)
        write_ome(tmp_path / "a.zarr", 3, values, 1)
        refused(self.changed(tmp_path / "a.zarr", {"attributes": {"ome": ome}}), "damaged (ome: ")

    @pytest.mark.parametrize(
        "path", ["../b.zarr", "..", "/etc", "0/../../b.zarr", "", "c:\\b", "a\nb"]
    )
    def test_a_size_of_an_image_that_lies_elsewhere(self, tmp_path, path):
        values = np.zeros((1, 1, 1, 9, 9), np.uint8)
        for name in ("a.zarr", "b.zarr"):
            write_ome(tmp_path / name, 2, values, 1)
        file = tmp_path / "a.zarr" / ".zattrs"
        told = json.loads(file.read_text())
        told["multiscales"][0]["datasets"][0]["path"] = path
        file.write_text(json.dumps(told))
        refused(tmp_path / "a.zarr", "leads out of the image")

    def test_an_image_of_thousands_of_sizes(self, tmp_path):
        write_ome(tmp_path / "a.zarr", 2, np.zeros((1, 1, 1, 9, 9), np.uint8), 1)
        file = tmp_path / "a.zarr" / ".zattrs"
        told = json.loads(file.read_text())
        told["multiscales"][0]["datasets"] *= 3000
        file.write_text(json.dumps(told))
        refused(tmp_path / "a.zarr", "OME-Zarr metadata is damaged (3,000 datasets)")


@pytest.mark.parametrize(
    "source",
    ["/vsicurl/http://a.example/b.tif", "https://a.example/b.tif", "&lt;GDAL_WMS/&gt;", "/vsis3/b"],
)
def test_nothing_is_fetched_from_a_network(tmp_path, source):
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1'
        "</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    refused(tmp_path / "a.vrt", "nothing is fetched from a network", open_image)


@pytest.mark.parametrize("size", ["1e-320", "nan", "0", "1e999", "x"])
def test_parts_of_a_source_that_hold_no_pixel(tmp_path, size):
    """GDAL gave another picture each time."""
    tree = make_vrt(tmp_path)[0]
    text = tree["a.vrt"].decode()
    (tmp_path / "a.vrt").write_text(text.replace('ySize="19" />', f'ySize="{size}" />', 1))
    refused(tmp_path / "a.vrt", f"a part of a source has a side of {size}")


@pytest.mark.parametrize("suffix", [".vrt", ".jp2"])
def test_files_are_of_the_format_that_their_name_says(tmp_path, suffix):
    """GDAL would take any for whatever they begin like, such as the address of a server."""
    (tmp_path / f"a{suffix}").write_text("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>")
    refused(tmp_path / f"a{suffix}", "cannot be read", open_image)


@pytest.mark.parametrize("inertia", ["NaN", "Infinity", "-1", "9" * 5000 + ".0"])
def test_a_model_whose_inertia_cannot_be(tmp_path, inertia):
    fastseg.segment(GREY, 3).save(tmp_path / "a.json")
    fields = json.loads((tmp_path / "a.json").read_text())
    text = json.dumps(fields).replace(json.dumps(fields["inertia"]), inertia)
    (tmp_path / "a.json").write_text(text)
    refused(tmp_path / "a.json", "inertia", fastseg.load_model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value_range": [[float("nan"), 1.0]]}, "its value_range is not finite"),
        ({"channel_axis": False}, "its channel_axis is False"),
        ({"version": "x" * 5000}, "format version 'xxx"),
        ({"profile": {"moments": [[0, 1]], "values": [[1e999]], "levels": [[0.5]]}}, "its profile"),
    ],
)
def test_a_model_that_could_not_be_saved_again(tmp_path, change, words):
    fastseg.segment(GREY, 3).save(tmp_path / "a.json")
    fields = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(fields | change))
    refused(tmp_path / "a.json", words, fastseg.load_model)


class TestErrors:
    def test_all_that_is_raised_names_the_file_in_a_line(self):
        for error in (
            AssertionError(),
            KeyError("a\nb"),
            MemoryError(),
            RecursionError("x" * 9999),
        ):
            with pytest.raises(ValueError, match=r"\Aa\.png: [^\n]{10,500}\Z"), reading("a.png"):
                raise error

    def test_errors_that_name_it_and_interrupts_pass(self):
        for error in (OSError(5, "I/O", "b"), ImportError("a.png: needs b"), KeyboardInterrupt()):
            with pytest.raises(type(error)) as caught, reading("a.png"):
                raise error
            assert caught.value is error

    def test_warnings_are_kept_back_while_files_are_read_and_no_longer(self):
        before = list(warnings.filters)
        with reading("a.png"), reading("b.png"):
            warnings.warn_explicit("odd", UserWarning, "x.py", 1, module="PIL.Image")
            with pytest.warns(UserWarning, match="own"):
                warnings.warn_explicit("own", UserWarning, "x.py", 1, module="mine")
        assert list(warnings.filters) == before
        with pytest.warns(UserWarning, match="odd"):
            warnings.warn_explicit("odd", UserWarning, "x.py", 1, module="PIL.Image")

    def test_words_can_be_printed(self):
        assert words_of(ValueError("a\x00\n b\u202e")) == "a\\x00 b\\u202e"
        assert words_of(ValueError()) == "ValueError"
        assert len(words_of(ValueError("x" * sys.maxunicode))) < 310
