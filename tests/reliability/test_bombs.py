"""Small files that claim to be huge, or unpack to more than they may: refused, and in time.

Each is read as a whole and in regions, by a process of its own, whose memory is measured.
"""

import bz2
import gzip
import io
import json
import lzma
import math
import os
import struct
import subprocess
import sys
import zlib

import mutation
import nibabel
import numpy as np
import pydicom
import pytest
import rasterio
import tifffile
import zarr
from affine import Affine
from fuzzed import make_dicom
from isal import igzip
from large_files import write_ome, write_slide
from numcodecs import LZ4, Blosc, Zstd
from PIL import Image
from pydicom import uid

import fastseg

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs"), reason="memory is measured as Linux tells it"
)

SIDE = 10**6
MEBIBYTE = 2**20
# What is read first costs imports and buffers of a region or two.
MOST = 64 * MEBIBYTE
SMALL = np.zeros((16, 16), np.uint8)

PROGRAM = """
import json, os, sys, warnings
from pathlib import Path
import numpy as np
import fastseg, fastseg.io.failures, fastseg.streaming.segment
from fastseg import memory
from fastseg.io import opening, raster, nifti, zarr_chunks, tiff_chunks, geo_chunks, slides
fastseg.segment(np.eye(9), 2), fastseg.io.read_image("warm.png")
fastseg.segment_file("warm.png", "warm.npy", 1)
# As on a machine with this much of it free.
fastseg.io.failures.free_memory = memory.free_memory = lambda: 100 * 2**20

def tried(read, path):
    memory.forget_peak()
    before = memory.resident_memory()
    try:
        answer = type(read(path)).__name__
    except Exception as error:
        answer = f"{'ValueError' if isinstance(error, ValueError) else type(error)}: {error}"
    return answer, memory.peak_memory() - before

def segmented(path):
    Path("out.npy").unlink(missing_ok=True)
    return fastseg.segment_file(path, "out.npy", 1)

for name in sys.argv[1:]:
    out, into = os.pipe()
    if os.fork() == 0:
        whole = tried(fastseg.io.read_image, name)
        parts = tried(segmented, name)
        os.write(into, json.dumps([whole, parts]).encode())
        os._exit(0)
    os.close(into)
    os.wait()
    with os.fdopen(out) as pipe:
        print(json.dumps([name, json.loads(pipe.read() or "null")]), flush=True)
"""


def gzipped(head, n_bytes):
    """A gzip file of some bytes and of many zeros."""
    return igzip.compress(head + bytes(n_bytes))


def zipped(n_mebibytes, packer):
    """Many zeros, packed by an object of zlib's kind."""
    parts = [packer.compress(bytes(MEBIBYTE)) for _ in range(n_mebibytes)]
    return b"".join(parts) + packer.flush()


def volume(shape, kind=nibabel.Nifti1Image):
    """Header of a volume that claims a shape."""
    header = kind.header_class()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    if hasattr(header, "set_slope_inter"):
        header["vox_offset"], header["magic"] = 352, b"n+1"
    return header.binaryblock + b"\0" * 4


def patched_tiff(file, **values):
    """The bytes of a TIFF file with other values of its first page's tags."""
    content = bytearray(file)
    with tifffile.TiffFile(io.BytesIO(file)) as tiff:
        for name, value in values.items():
            tag = tiff.pages[0].tags[name]
            form = "<I" if tag.dtype == 4 else "<H"
            if form == "<H":  # the type stands before the count and the value
                struct.pack_into("<H", content, tag.offset + 2, 4)
                form = "<I"
            struct.pack_into(form, content, tag.valueoffset, value)
    return bytes(content)


def tiff_of(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def with_tile(data, compression=8, **options):
    """A TIFF file of one tile, of 16 x 16 pixels, that holds these packed bytes."""
    file = tiff_of(SMALL, tile=(16, 16), compression="deflate", **options)
    where = {"TileOffsets": len(file), "TileByteCounts": len(data), "Compression": compression}
    return patched_tiff(file, **where) + data


def png(width, height, *chunks, data=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return mutation._PNG + b"".join(mutation.png_chunk(*part) for part in parts)


def jpeg(width, height):
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, "jpeg")
    content = bytearray(file.getvalue())
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    return bytes(content)


def picture(form, at, code, *sides):
    file = io.BytesIO()
    Image.fromarray(SMALL).save(file, form)
    content = bytearray(file.getvalue())
    struct.pack_into(code, content, at, *sides)
    return bytes(content)


def zarr_of(path, zarr_format, shape, chunks, **options):
    zarr.create_array(
        store=str(path), shape=shape, chunks=chunks, dtype="u1", zarr_format=zarr_format, **options
    )


def claims(folder):
    """Files that claim to hold 10^6 x 10^6 pixels, or as many as their format can say."""
    files = {
        "a.png": png(SIDE, SIDE),
        "a.jpg": jpeg(65500, 65500),
        "a.bmp": picture("bmp", 18, "<ii", SIDE, SIDE),
        "a.gif": picture("gif", 6, "<HH", 65535, 65535),
        "a.tif": patched_tiff(tiff_of(SMALL), ImageWidth=SIDE, ImageLength=SIDE),
        "strip.tif": patched_tiff(
            tiff_of(SMALL, compression="deflate"), ImageWidth=SIDE, ImageLength=SIDE,
            RowsPerStrip=SIDE,
        ),
        "tile.tif": patched_tiff(
            tiff_of(SMALL, compression="deflate", tile=(16, 16)), ImageWidth=SIDE,
            ImageLength=SIDE, TileWidth=SIDE + 448, TileLength=SIDE + 448,
        ),
        "big_tile.tif": patched_tiff(
            tiff_of(SMALL, compression="deflate", tile=(16, 16)), TileWidth=2**20, TileLength=2**20
        ),
        "a.nii": volume((30_000, 30_000, 1000)),
        "a.nii.gz": gzip.compress(volume((30_000, 30_000, 1000))),
        "a.mgz": gzip.compress(nibabel.MGHImage(SMALL[..., None], np.eye(4)).header.binaryblock),
        "a.npy": b"\x93NUMPY\1\0v\0" + b"{'descr': '|u1', 'fortran_order': False, 'shape': "
        b"(1000000, 1000000), }".ljust(117 - 50) + b"\n",
        "header.npy": b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{" * 1000,
    }  # fmt: skip
    head = bytearray(gzip.decompress(files["a.mgz"]))
    struct.pack_into(">iii", head, 4, SIDE, SIDE, 1)
    files["a.mgz"] = gzip.compress(bytes(head))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_slide(folder / "a.svs", (70, 90))
    (folder / "a.svs").write_bytes(
        patched_tiff((folder / "a.svs").read_bytes(), TileWidth=2**20, TileLength=2**20)
    )
    form = {"driver": "GTiff", "count": 1, "dtype": "uint8", "transform": Affine.scale(2)}
    with rasterio.open(
        folder / "sparse.tif", "w", width=SIDE, height=SIDE, tiled=True, sparse_ok=True,
        blockxsize=65536, blockysize=65536, **form,
    ):  # fmt: skip
        pass
    (folder / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}">'
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    for version in (2, 3):
        zarr_of(folder / f"many{version}.zarr", version, (SIDE, SIDE), (1000, 1000))
        zarr_of(folder / f"one{version}.zarr", version, (SIDE, SIDE), (SIDE, SIDE))
        zarr_of(folder / f"chunk{version}.zarr", version, (100, 100), (SIDE, SIDE))
        zarr_of(folder / f"tiny{version}.zarr", version, (4000, 4000), (1, 1))
        zarr.open_array(folder / f"tiny{version}.zarr")[2000, 3000] = 1
        write_ome(folder / f"ome{version}.zarr", version, np.zeros((1, 1, 1, 9, 9), np.uint8), 1)
        name = folder / f"ome{version}.zarr" / "0" / (".zarray" if version == 2 else "zarr.json")
        name.write_text(name.read_text().replace("9,\n", f"{SIDE},\n").replace("9\n", f"{SIDE}\n"))


def unpacking(folder):
    """Files of a megabyte or two that unpack to a thousand times as much."""
    many = 2**27
    extension = bytearray(volume((4, 4, 4)))
    struct.pack_into("<f", extension, 108, float(many))
    files = {
        "a.nii.gz": gzipped(volume((64, 1024, 1024)), many),
        "behind.nii.gz": gzipped(volume((4, 4, 4)), many),
        "before.nii.gz": gzipped(bytes(extension[:348]) + b"\1\0\0\0", many),
        "a.tif": with_tile(zipped(128, zlib.compressobj(1))),
        "a.png": png(16, 16, data=bytes(many)),
        "text.png": png(16, 16, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**27)))),
        "profile.png": png(16, 16, (b"iCCP", b"p\0\0" + zlib.compress(bytes(2**27)))),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    stream = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = {"zlib": zipped(128, zlib.compressobj(1)), "gzip": zipped(128, stream)}
    packed |= {"bz2": bz2.compress(bytes(2**23)) * 16}
    packed |= {"lzma": lzma.compress(bytes(2**24), preset=0) * 8}
    packed |= {"zstd": Zstd(1).encode(bytes(many)), "blosc": Blosc("zstd").encode(bytes(many))}
    for codec, content in packed.items():
        path = folder / f"{codec}.zarr"
        zarr_of(path, 2, (100, 100), (100, 100))
        told = json.loads((path / ".zarray").read_text())
        more = {"cname": "lz4", "clevel": 5, "shuffle": 1} if codec == "blosc" else {}
        told["compressor"] = {"id": codec, **more}
        (path / ".zarray").write_text(json.dumps(told))
        (path / "0.0").write_bytes(content)


def sized(data, mark, *places):
    """Packed bytes with other numbers behind the first mark in them: (offset, form, values)."""
    content = bytearray(data)
    for offset, form, *values in places:
        struct.pack_into(form, content, content.index(mark) + offset, *values)
    return bytes(content)


def pictures():
    """Pictures of 16 x 16 pixels that say they are of 9000 x 9000."""
    import imagecodecs

    many, side = 9000, 8999
    lossless = imagecodecs.webp_encode(np.zeros((16, 16, 3), np.uint8), lossless=True)
    stream = imagecodecs.jpeg2k_encode(SMALL, codecformat="j2k", reversible=True)
    both, tile = (6, ">II", many, many), (22, ">II", many, many)
    boxed = imagecodecs.jpeg2k_encode(SMALL, reversible=True)
    return {
        "jpeg": (7, jpeg(many, many)),
        "webp": (50001, sized(lossless, b"VP8L", (9, "<I", 1 << 28 | side << 14 | side))),
        "j2k": (34712, sized(stream, b"\xff\x51", both, tile)),
        "jp2": (34712, sized(boxed, b"\xff\x51", both, tile)),
        "jxl": (50002, imagecodecs.jpegxl_encode(np.zeros((many, many), np.uint8), effort=1)),
        "jxr": (34934, sized(imagecodecs.jpegxr_encode(SMALL), b"WMPHOTO",
                             (12, ">HH", side, side))),
        "png": (34933, png(many, many, data=bytes(9001 * 99))),
        "lerc": (34887, sized(imagecodecs.lerc_encode(SMALL, version=2), b"Lerc2",
                              (10, "<III", many, many, many * many))),
    }  # fmt: skip


def zstd_frames(n_blocks):
    """A frame of zstd that does not say its size, of blocks of 128 KiB that repeat a byte."""
    blocks = [(2**17 << 3 | 2 | (i == n_blocks - 1)).to_bytes(3, "little") for i in range(n_blocks)]
    return b"\x28\xb5\x2f\xfd\0\x70" + b"".join(block + b"\7" for block in blocks)


def dicom(syntax, pixels, side=16):
    """A slice of DICOM that says it has some sides, and the bytes of its pixels."""
    data = pydicom.dcmread(io.BytesIO(make_dicom(None)[1]["series/0.dcm"]))
    data.Rows = data.Columns = side
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = pydicom.encaps.encapsulate([pixels]) if syntax.is_compressed else pixels
    data["PixelData"].is_undefined_length, data["PixelData"].VR = syntax.is_compressed, "OB"
    data.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file.getvalue()


def deflated_dicom(n_bytes):
    """A slice whose file is deflated as a whole, with so many bytes of pixels."""
    whole = dicom(uid.ExplicitVRLittleEndian, bytes(2))
    head = bytearray(dicom(uid.DeflatedExplicitVRLittleEndian, bytes(2)))
    starts = [144 + struct.unpack_from("<I", file, 140)[0] for file in (whole, head)]
    content = whole[starts[0] : -6] + struct.pack("<I", n_bytes) + bytes(n_bytes)
    return bytes(head[: starts[1]]) + igzip.compress(content)[10:-8]


def zarr_with(path, zarr_format, chunk, codec, **more):
    """An array of one chunk, of 100 x 100 pixels, that holds these packed bytes."""
    zarr_of(path, zarr_format, (100, 100), (100, 100))
    name = path / (".zarray" if zarr_format == 2 else "zarr.json")
    told = json.loads(name.read_text())
    if zarr_format == 2:
        told["compressor"] = codec
    else:
        told["codecs"] = [{"name": "bytes"}, codec]
    name.write_text(json.dumps(told | more))
    file = path / ("0.0" if zarr_format == 2 else "c/0/0")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(chunk)


def shard_with(path, chunk, codec):
    """An array of one shard, whose four chunks are the same packed bytes."""
    inner = {"chunk_shape": [50, 50], "codecs": [{"name": "bytes"}, codec]}
    inner["index_codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    shard = {"name": "sharding_indexed", "configuration": inner}
    index = struct.pack("<8Q", *(0, len(chunk)) * 4)
    zarr_with(path, 3, chunk + index, {}, codecs=[shard])


def packed_inside(folder):
    """Tiles, frames and chunks that hold, or say they hold, far more than there is room for."""
    place = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0.0,) * 6, True)]
    inner = pictures()
    for name, (compression, data) in inner.items():
        of = {"tags": place} if name in ("jpeg", "webp", "lerc") else {}
        for prefix, more in (("", {}), *((("geo_", of),) if of else ())):
            content = with_tile(data, compression, extratags=more.get("tags", ()))
            (folder / f"{prefix}{name}.tif").write_bytes(content)
    jpeg_lossy, stream = inner["jpeg"][1], inner["j2k"][1]
    rle = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 100
    for name, content in {
        "jpeg.dcm": dicom(uid.JPEGBaseline8Bit, jpeg_lossy),
        "j2k.dcm": dicom(uid.JPEG2000Lossless, stream),
        "rle.dcm": dicom(uid.RLELossless, rle, 20_000),
        "sides.dcm": dicom(uid.ExplicitVRLittleEndian, bytes(256), 65535),
        "deflated.dcm": deflated_dicom(2**27),
        "wide.jp2": sized(inner["jp2"][1], b"\xff\x51", (6, ">II", SIDE, SIDE),
                          (22, ">II", SIDE, SIDE)),
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    for number, (compression, data) in enumerate((inner["jpeg"], (33003, stream))):
        path = folder / f"{number}.svs"
        write_slide(path, (70, 90))
        file = path.read_bytes()
        at = {"TileOffsets": len(file), "TileByteCounts": len(data), "Compression": compression}
        path.write_bytes(patched_tiff(file, **at) + data)
    gzip_, zstd = gzipped(b"", 2**27), zstd_frames(1024)
    known = Zstd(1).encode(bytes(MEBIBYTE)) * 128
    v3 = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
    zarr_with(folder / "zstd2.zarr", 2, zstd, {"id": "zstd"})
    zarr_with(folder / "zstd3.zarr", 3, zstd, v3)
    zarr_with(folder / "frames.zarr", 3, known, v3)
    zarr_with(folder / "lz4.zarr", 2, LZ4().encode(bytes(2**27)), {"id": "lz4"})
    zarr_with(folder / "filter.zarr", 2, gzip_, None, filters=[{"id": "gzip", "level": 1}])
    zarr_with(folder / "lzma.zarr", 2, lzma.compress(bytes(2**24), preset=0) * 8,
              {"id": "imagecodecs_lzma"})  # fmt: skip
    zarr_with(folder / "jpeg2k.zarr", 2, stream, {"id": "imagecodecs_jpeg2k"})
    shard_with(folder / "gzip_shard.zarr", gzip_, {"name": "gzip", "configuration": {"level": 1}})
    shard_with(folder / "zstd_shard.zarr", zstd, v3)
    shard_with(folder / "frames_shard.zarr", known, v3)


MAKERS = [claims, unpacking, packed_inside]


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What came of each file: (answer, peak memory) as a whole, and in regions."""
    folder = tmp_path_factory.mktemp("bombs")
    Image.fromarray(SMALL).save(folder / "warm.png")
    for make in MAKERS:
        (folder / make.__name__).mkdir()
        make(folder / make.__name__)
    names = [f"{make.__name__}/{name}" for make in MAKERS
             for name in sorted(os.listdir(folder / make.__name__))]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], cwd=folder, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


# What is large in them is nothing that is read, and the picture is there.
ANSWERED = {"unpacking/a.png"} | {
    f"claims/{name}.zarr" for name in ("chunk2", "chunk3", "tiny2", "tiny3")
}
WHAT = {
    claims: "small files that claim to be huge",
    unpacking: "files that unpack to 128 MiB",
    packed_inside: "tiles, frames and chunks that hold, or claim, far more than there is room for",
}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_bombs_are_refused_before_memory_is_taken(make, tried, figure):
    tried = {name: came for name, came in tried.items() if name.startswith(make.__name__)}
    assert len(tried) > 10
    wrong = {name: "ended the process" for name, results in tried.items() if results is None}
    for name, results in tried.items():
        for answer, memory in results or ():
            refused = answer.startswith("ValueError: ") and name in answer
            is_read = name in ANSWERED and ":" not in answer
            if not (refused or is_read) or not answer.isprintable() or memory > MOST:
                wrong[name] = f"{memory / MEBIBYTE:.0f} MiB, {answer}"
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
    worst = max(memory for results in tried.values() for _, memory in results)
    figure(
        WHAT[make],
        f"{len(tried)} files, as a whole and in regions: refused, or read in the size they say,"
        f" with at most {worst / MEBIBYTE:.0f} MiB of memory",
    )


class TestModels:
    @pytest.fixture
    def path(self, tmp_path):
        result = fastseg.segment(np.arange(100).reshape(10, 10) % 7, 3, random_state=0)
        result.save(tmp_path / "a.json")
        return tmp_path / "a.json"

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"n_clusters": 3', '"n_clusters": 1000000000000'),
            ('"n_channels": 1', '"n_channels": 1e300'),
            ('"counts": [', '"counts": [' + "[" * 50_000 + "]" * 50_000 + ","),
            ('"inertia": ', '"inertia": ' + "9" * 5000),
            ('"method": ', '"__class__": "os.system", "method": '),
        ],
    )
    def test_a_model_is_read_or_refused_in_a_line(self, path, old, new):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        if "__class__" in new:
            assert fastseg.load_model(path).n_clusters == 3
            return
        with pytest.raises(ValueError, match=r"a\.json is (no|not|a damaged)") as caught:
            fastseg.load_model(path)
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()

    def test_a_file_too_large_for_a_model_is_not_read(self, path):
        os.truncate(path, 2**40)
        with pytest.raises(ValueError, match="and a model at most 268,435,456"):
            fastseg.load_model(path)


def test_objects_are_never_unpickled(tmp_path):
    """Neither NumPy's, whose header says so, nor in the place of a model."""
    np.save(tmp_path / "a.npy", np.array([print, len]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: holds Python objects, which are not read"):
        fastseg.io.read_image(tmp_path / "a.npy")
    (tmp_path / "a.json").write_bytes(b"\x80\x04\x95")
    with pytest.raises(ValueError, match="is not a fastseg model"):
        fastseg.load_model(tmp_path / "a.json")
    assert math.isfinite(fastseg.segment(np.eye(4), 2).inertia)
