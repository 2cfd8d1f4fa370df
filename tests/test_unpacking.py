"""What is packed in tiles and chunks: read as it is, and never unpacked beyond its place."""

import bz2
import gzip
import io
import lzma
import os
import struct
import zlib

import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs.numcodecs as packers
from imagecodecs.numcodecs import register_codecs
from PIL import Image

from fastseg.io import read_image
from fastseg.io.chunked import Part
from fastseg.io.inner_sizes import check_inner, values_in
from fastseg.io.opening import open_image
from fastseg.io.zarr_sizes import unpacked

VALUES = np.random.default_rng(8).integers(0, 9, (100, 130)).astype(np.uint16)
CODECS = ["Blosc", "BZ2", "GZip", "LZ4", "LZMA", "Zlib", "Zstd"]
WORDS = bytes(range(250)) * 40
# Two frames of zstd, which do not say what they hold: raw blocks of 5000 bytes.
FRAME = b"\x28\xb5\x2f\xfd\0\x70" + (5000 << 3 | 1).to_bytes(3, "little")
FRAMES = b"".join(FRAME + part for part in (WORDS[:5000], WORDS[5000:]))


def made(path, values=VALUES, **options):
    array = zarr.create_array(str(path), shape=values.shape, dtype=values.dtype, **options)
    array[...] = values
    return path


def found(chunk, codec, n_bytes=10_000, is_exact=True):
    unpack = unpacked(None, {"id": codec}, memoryview(chunk), n_bytes, is_exact)
    return None if unpack is None else unpack()


class TestZarr:
    @pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
    @pytest.mark.parametrize("name", CODECS)
    def test_every_codec_wherever_it_stands(self, tmp_path, name):
        """Alone, with filters that keep the size or do not, checksums, and in shards."""
        of_2, of_3, chunks = getattr(numcodecs, name)(), getattr(packers, name)(), (64, 64)
        checked = zarr.codecs.Crc32cCodec()
        ways = [
            {"zarr_format": 2, "compressors": [of_2]},
            {"zarr_format": 2, "compressors": [of_2], "filters": [numcodecs.Delta("u2")]},
            {"zarr_format": 2, "compressors": [of_2], "filters": [numcodecs.AsType("f8", "u2")]},
            {"compressors": [of_3], "filters": [packers.Delta(dtype="u2")]},
            {"compressors": [checked, of_3]},
            {"compressors": [of_3, checked], "shards": (128, 128)},
        ]
        for number, way in enumerate(ways):
            path = made(tmp_path / f"{number}.zarr", chunks=chunks, **way)
            np.testing.assert_array_equal(read_image(path).pixels, VALUES, str(way))

    @pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_filters_that_store_wider_values(self, tmp_path, zarr_format):
        values = np.tile(VALUES, (6, 8))
        options = {"encode_dtype": "f8", "decode_dtype": "u2"}
        wider = numcodecs.AsType(**options) if zarr_format == 2 else packers.AsType(**options)
        packed = numcodecs.Zlib() if zarr_format == 2 else zarr.codecs.GzipCodec()
        path = made(
            tmp_path / "a.zarr", values, chunks=values.shape, zarr_format=zarr_format,
            filters=[wider], compressors=[packed],
        )  # fmt: skip
        np.testing.assert_array_equal(read_image(path).pixels, values)

    @pytest.mark.parametrize("name", ["Brotli", "Deflate", "Jpeg2k", "Jpegxl", "Lzma", "Zstd"])
    def test_codecs_of_imagecodecs(self, tmp_path, name):
        register_codecs(verbose=False)
        codec, values = getattr(imagecodecs.numcodecs, name)(), VALUES[:64, :128]
        path = made(tmp_path / "a.zarr", values, chunks=(64, 64), zarr_format=2, compressors=codec)
        np.testing.assert_array_equal(read_image(path).pixels, values)

    @pytest.mark.parametrize(
        ("codec", "pack"),
        [("gzip", gzip.compress), ("bz2", bz2.compress), ("lzma", lzma.compress)],
    )
    def test_streams_that_follow_each_other(self, codec, pack):
        chunk = pack(WORDS[:5000]) + pack(b"") * 2000 + pack(WORDS[5000:])
        assert found(chunk, codec) == found(chunk + b"\0\0other", codec) == WORDS

    def test_frames_of_zstd_that_do_not_say_what_they_hold(self):
        assert bytes(found(FRAMES, "zstd")) == WORDS
        with pytest.raises(ValueError, match="does not say how much it unpacks to"):
            found(FRAMES, "zstd", is_exact=False)

    @pytest.mark.parametrize("codec", ["gzip", "zlib", "bz2", "lzma", "zstd", "blosc", "lz4"])
    def test_no_more_is_unpacked_than_there_may_be(self, codec):
        chunk = numcodecs.get_codec({"id": codec}).encode(WORDS)
        for n_bytes in (0, 1, len(WORDS) - 1):
            with pytest.raises(ValueError, match=f"unpacks to more than the {n_bytes:,} bytes"):
                found(bytes(chunk), codec, n_bytes)
        found(bytes(chunk), codec)

    @pytest.mark.parametrize("codec", ["gzip", "zlib", "bz2", "lzma"])
    def test_a_stream_that_is_cut_off(self, codec):
        chunk = numcodecs.get_codec({"id": codec}).encode(WORDS)
        with pytest.raises(ValueError, match="it ends after"):
            found(bytes(chunk)[:-9], codec)


class TestChunksNobodyWrote:
    SHAPE = (3, 40, 5000)

    @pytest.fixture
    def asked(self, monkeypatch):
        """How often zarr is asked for values."""
        times = []
        get = zarr.Array.__getitem__
        monkeypatch.setattr(zarr.Array, "__getitem__", lambda *a: times.append(a) or get(*a))
        return times

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_they_hold_the_fill_value_and_take_no_time(self, tmp_path, asked, zarr_format):
        path = tmp_path / "a.zarr"
        array = zarr.create_array(
            str(path), shape=self.SHAPE, chunks=(1, 8, 8), dtype="f4", zarr_format=zarr_format,
            fill_value=np.nan,
        )  # fmt: skip
        expected = np.full(self.SHAPE, np.nan, np.float32)
        np.testing.assert_array_equal(read_image(path).pixels, expected)
        assert not asked
        array[1, 10:20, 100:110] = expected[1, 10:20, 100:110] = 5
        np.testing.assert_array_equal(read_image(path).pixels, expected)
        assert len(asked) == 2 * 2

    def test_of_some_channels(self, tmp_path):
        path = tmp_path / "a.zarr"
        zarr.create_array(str(path), shape=(40, 50, 4), chunks=(8, 8, 1), dtype="u1", fill_value=7)
        with open_image(path, Part(channels=(2, 0, 2))) as image:
            values, _ = image.read((slice(3, 33), slice(0, 50)))
        assert values.shape == (30, 50, 3)
        assert (values == 7).all()

    @pytest.mark.skipif(os.name != "posix", reason="a link that leads to itself")
    def test_what_cannot_be_looked_at_is_no_chunk_that_nobody_wrote(self, tmp_path):
        path = tmp_path / "a.zarr"
        zarr.create_array(str(path), shape=(40, 50), chunks=(8, 8), dtype="u1")
        (path / "c").symlink_to(path / "c")
        with pytest.raises((OSError, ValueError), match=r"a\.zarr"):
            read_image(path)


def pillow(values, form, **options):
    file = io.BytesIO()
    Image.fromarray(values).save(file, form, **options)
    return file.getvalue()


def rgb(values):
    return np.ascontiguousarray(np.broadcast_to(values.reshape(*values.shape[:2], -1)[..., :1],
                                                (*values.shape[:2], 3)))  # fmt: skip


def old_lerc(values):
    return imagecodecs.lerc_encode(values.reshape(len(values), -1), version=2)


# How each kind is packed, and the samples that count for a pixel; None for those there are.
PACKERS = {
    "jpeg": (imagecodecs.jpeg_encode, None),
    "progressive": (lambda a: pillow(a, "jpeg", progressive=True, dpi=(9, 9)), None),
    "jpeg-ls": (imagecodecs.jpegls_encode, None),
    "jpeg 2000": (imagecodecs.jpeg2k_encode, None),
    "its stream": (lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k"), None),
    "jpeg xl": (imagecodecs.jpegxl_encode, 1),
    "in a box": (lambda a: imagecodecs.jpegxl_encode(a, usecontainer=True), 1),
    "jpeg xr": (imagecodecs.jpegxr_encode, 1),
    "png": (imagecodecs.png_encode, 4),
    "webp": (lambda a: imagecodecs.webp_encode(rgb(a)), 4),
    "lossless": (lambda a: pillow(rgb(a), "webp", lossless=True), 4),
    "with exif": (lambda a: pillow(a, "webp", exif=b"Exif\0\0abcd"), 4),
    "lerc": (imagecodecs.lerc_encode, None),
    "old lerc": (old_lerc, None),
}


class TestPictures:
    @pytest.mark.parametrize("name", PACKERS)
    @pytest.mark.parametrize("shape", [(123, 457), (123, 457, 3), (256, 256), (7, 3000), (16, 24)])
    def test_the_size_of_each_kind_is_known(self, name, shape):
        pack, samples = PACKERS[name]
        expected = samples * shape[0] * shape[1] if samples else np.prod(shape)
        assert values_in(bytes(pack(np.zeros(shape, np.uint8)))) == expected

    def test_the_largest_of_what_looks_like_a_header_counts(self):
        small = imagecodecs.jpeg2k_encode(np.zeros((16, 16), np.uint8))
        large = bytearray(imagecodecs.jpeg2k_encode(np.zeros((16, 16), np.uint8)))
        struct.pack_into(">II", large, large.index(b"\xff\x51") + 6, 9000, 9000)
        assert values_in(small + large) == values_in(bytes(large) + small) == 81_000_000

    def test_packed_values_that_look_like_a_header(self):
        picture = bytes(imagecodecs.jpeg2k_encode(np.zeros((16, 16), np.uint8)))
        seeming = b"\xff\x4f\xff\x51" + bytes(4) + b"\x7f" * 8 + bytes(24) + b"\0\3"
        assert values_in(picture + seeming) == 256

    def test_a_marker_behind_what_a_decoder_skips(self):
        small = imagecodecs.jpeg_encode(np.zeros((300, 400), np.uint8))
        assert values_in(small[:2] + b"skipped" + small[2:]) == 120_000

    def test_what_is_no_picture(self):
        for data in (b"", b"\xff\xd8", b"\xff\x0a", b"RIFF", zlib.compress(WORDS), WORDS):
            assert values_in(data) >= 0
        check_inner(zlib.compress(WORDS), 1)

    def test_far_more_than_there_is_room_for(self):
        picture = imagecodecs.jpeg_encode(np.zeros((300, 400), np.uint8))
        check_inner(picture, 300 * 400)
        with pytest.raises(ValueError, match="120,000 values stands in the place of 256"):
            check_inner(picture, 256)

    def test_tiles_that_are_not_packed_are_no_pictures(self, tmp_path):
        """However their values begin: so does a stream of JPEG XL of 2^30 x 2^30 pixels."""
        values = np.full((64, 64), 255, np.uint8)
        values[:, 1] = 10
        for compression in (None, "lzw"):
            tifffile.imwrite(tmp_path / "a.tif", values, tile=(16, 16), compression=compression)
            np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, values)

    @pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "jpegxl", "png", "lerc"])
    def test_tiles_of_pictures_are_read(self, tmp_path, compression):
        values = np.random.default_rng(0).integers(0, 9, (70, 90, 3)).astype(np.uint8) * 9
        path = tmp_path / "a.tif"
        for more in ({"tile": (32, 48)}, {"rowsperstrip": 32}):
            tifffile.imwrite(path, values, compression=compression, photometric="rgb", **more)
            with tifffile.TiffFile(path) as file:
                np.testing.assert_array_equal(read_image(path).pixels, file.asarray())
