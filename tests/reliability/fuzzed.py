"""What is fuzzed: small files of every format that is read, how they are damaged, and what
is asked of an answer.

A check raises `Wrong` where an answer is not right; whatever else it raises is judged by who
calls it.
"""

import io
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mutation
import nibabel
import numpy as np
import pydicom
import rasterio
import rasterio.shutil
import tifffile
import zarr
from affine import Affine
from large_files import write_ome, write_slide
from mutation import Tree, damaged, in_tree
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

import fastseg
from fastseg import costs
from fastseg import io as files
from fastseg.io.chunked import cut, regions
from fastseg.io.opening import open_image

# The most that is decoded: what is larger is refused, and memory follows from it.
MAX_PIXELS = 2**20

GREY = np.random.default_rng(3).integers(0, 200, (19, 23)).astype(np.uint8)
RGB = np.random.default_rng(4).integers(0, 200, (19, 23, 3)).astype(np.uint8)


class Wrong(AssertionError):
    """An answer that is not right."""


@dataclass(frozen=True)
class Kind:
    """Files of a format: the name to open, trees to begin with, mutation and check."""

    name: str
    make: Callable[[Path], list[Tree]]
    mutate: Callable[[random.Random, Tree], Tree]
    check: Callable[[str], object]
    prints: bool = False  # where a library in C tells of damage itself


def check_image(path: str) -> files.Image:
    """Read as a whole, then in regions: the values are the same, whichever way answers."""
    try:
        whole = files.read_image(path, max_pixels=MAX_PIXELS)
    finally:
        inner = read_in_regions(path)
    check_whole(whole)
    if inner is not None:
        axis = whole.resolved_axis
        outer = whole.pixels[..., None] if axis is None else np.moveaxis(whole.pixels, axis, -1)
        if inner.shape != outer.shape or inner.dtype != outer.dtype.newbyteorder("="):
            raise Wrong(f"{outer.dtype}{outer.shape} whole, {inner.dtype}{inner.shape} in regions")
        if not np.array_equal(inner, outer, equal_nan=inner.dtype.kind == "f"):
            raise Wrong("other values as a whole than in regions")
    return whole


def check_whole(image: files.Image) -> None:
    """An image is an array of numbers, and what hides pixels is on its grid."""
    if image.pixels.dtype.kind not in "buif" or not all(isinstance(n, str) for n in image.notes):
        raise Wrong(f"an image of {image.pixels.dtype}")
    if image.valid is not None and (image.valid.shape, image.valid.dtype) != (image.grid, bool):
        raise Wrong(f"valid {image.valid.dtype}{image.valid.shape} on the grid {image.grid}")
    if image.scale is not None and not np.isfinite(image.scale).all():
        raise Wrong(f"the scale {image.scale}")


def read_in_regions(path: str) -> np.ndarray | None:
    """All values by regions, or None where that is refused too."""
    try:
        with open_image(path, max_pixels=MAX_PIXELS) as image:
            if image.n_pixels * image.n_channels > 4 * MAX_PIXELS:
                return None  # .npy, which is mapped
            values = np.empty((*image.grid, image.n_channels), image.dtype)
            step = cut(image.grid, (1,) * len(image.grid), image.block, image.pixel_bytes, 2**16)
            for region in regions(image.grid, step):
                values[region], valid = image.read(region)
                if valid is not None and valid.shape != values[region].shape[:-1]:
                    raise Wrong(f"valid {valid.shape} in the region {region}")
            return values
    except (ValueError, OSError, ImportError) as error:
        check_refusal(path, error)
        return None


def check_refusal(path: str, error: BaseException) -> None:
    """Whether an error is the project's own: one line of words that names the file."""
    words = str(error)
    if not isinstance(error, (ValueError, OSError, ImportError)) or path not in words:
        raise error
    if not words.isprintable() or len(words) > 1500:
        raise Wrong(f"not a line of words: {words[:200]!r} ({len(words)} characters)")


# Pictures


def picture(path: Path, *images: Image.Image, **options: object) -> bytes:
    """Content of a picture that Pillow writes."""
    images[0].save(path, **options)
    return path.read_bytes()


def pictures(suffix: str, *modes: str, **options: object) -> Callable[[Path], list[Tree]]:
    def make(folder: Path) -> list[Tree]:
        path = folder / f"a{suffix}"
        exif = Image.Exif()
        exif[0x0112] = 6
        if suffix in (".png", ".webp", ".jpg"):
            options["exif"] = exif
        return [
            {path.name: picture(path, Image.fromarray(RGB).convert(mode), **options)}
            for mode in modes
        ]

    return make


def make_png(folder: Path) -> list[Tree]:
    found = pictures(".png", "L", "RGB", "RGBA", "P", "1", "I;16")(folder)
    deep = np.dstack([RGB] * 2)[..., :4].astype(np.uint16) * 257
    from imagecodecs import png_encode

    found += [{"a.png": png_encode(np.ascontiguousarray(deep[..., :n]))} for n in (2, 3, 4)]
    path = folder / "b.png"
    found.append({"a.png": picture(path, Image.fromarray(GREY), transparency=7, optimize=True)})
    files.write_labels(folder / "labels.png", GREY // 50, left_out=True, names={1: "one"})
    return [*found, {"a.png": (folder / "labels.png").read_bytes()}]


def make_gif(folder: Path) -> list[Tree]:
    frames = [Image.fromarray(GREY // n) for n in (1, 2, 3)]
    path = folder / "b.gif"
    moving = picture(path, frames[0], save_all=True, append_images=frames[1:], transparency=3)
    return [*pictures(".gif", "L", "P")(folder), {"a.gif": moving}]


def check_mask(path: str) -> None:
    files.read_mask(path, max_pixels=MAX_PIXELS)


# TIFF


def tiff_of(values: np.ndarray, **options: object) -> Tree:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return {"a.tif": file.getvalue()}


def make_tiff(folder: Path) -> list[Tree]:
    deep, tiled = RGB.astype(np.uint16) * 257, {"tile": (16, 16), "photometric": "rgb"}
    stack = np.stack([GREY, GREY // 2, GREY // 3])
    found = [
        tiff_of(RGB, photometric="rgb"),
        tiff_of(RGB, compression="zlib", predictor=True, **tiled),
        tiff_of(RGB, compression="lzw", rowsperstrip=4, photometric="rgb"),
        tiff_of(RGB, compression="packbits", rowsperstrip=4, byteorder=">", photometric="rgb"),
        tiff_of(RGB, compression="jpeg", **tiled),
        tiff_of(deep, compression="zstd", bigtiff=True, **tiled),
        tiff_of(
            np.moveaxis(deep, -1, 0),
            planarconfig="separate",
            bigtiff=True,
            byteorder=">",
            photometric="rgb",
        ),
        tiff_of(GREY.astype(np.float32), compression="lzma", tile=(16, 16), predictor=True),
        tiff_of(GREY.astype(np.int16), rowsperstrip=5),
        tiff_of(GREY, photometric="miniswhite", rowsperstrip=7, compression="zlib"),
        tiff_of(GREY, photometric="palette", colormap=np.arange(768, dtype="u2").reshape(3, 256)),
        tiff_of(stack, photometric="minisblack"),
        tiff_of(np.dstack([RGB, GREY]), extrasamples=["unassalpha"], **tiled),
    ]
    files.write_labels(folder / "c.tif", GREY // 50)
    return [*found, {"a.tif": (folder / "c.tif").read_bytes()}]


def make_pillow_tiff(folder: Path) -> list[Tree]:
    """Those that are left to Pillow, as their values are packed or are other colours."""
    path, tags = folder / "b.tif", {"tiffinfo": {274: 6}}
    kinds = [("1", {"compression": "group4"}), ("L", tags), ("CMYK", {"compression": "tiff_lzw"})]
    found = [
        {"a.tif": picture(path, Image.fromarray(RGB).convert(mode), **options)}
        for mode, options in kinds
    ]
    return [*found, tiff_of(GREY > 99, photometric="minisblack")]


def make_ome_tiff(folder: Path) -> list[Tree]:
    stack = np.random.default_rng(1).integers(0, 99, (2, 3, 19, 23)).astype(np.uint8)
    found = []
    for axes, more in (("ZCYX", {"compression": "zlib", "tile": (16, 16)}), ("TZYX", {})):
        file = io.BytesIO()
        told = {"axes": axes, "UUID": "urn:uuid:00000000-0000-0000-0000-000000000000"}
        tifffile.imwrite(file, stack, ome=True, metadata=told, **more)
        found.append({"a.tif": file.getvalue()})
    return found


def ome_words(rng: random.Random, data: bytes) -> bytes:
    """An OME-TIFF with other words of the same length in its XML."""
    start, end = data.find(b"<OME"), data.find(b"</OME>")
    if start < 0 or rng.random() < 0.5:
        return mutation.tiff(rng, data)
    words = mutation.text(rng, data[start:end])[: end - start].ljust(end - start)
    return data[:start] + words + data[end:]


# Volumes


def volume_of(folder: Path, suffix: str, kind: type, dtype: str, slope: float = 1.0) -> Tree:
    values = np.random.default_rng(2).integers(0, 90, (7, 6, 5)).astype(dtype)
    volume = kind(values, np.diag([1.0, 2.0, 3.0, 1.0]))
    if slope != 1:
        volume.header.set_slope_inter(slope, 3.0)
    volume.to_filename(folder / f"a{suffix}")
    return {f"a{suffix}": (folder / f"a{suffix}").read_bytes()}


def volumes(suffix: str) -> Callable[[Path], list[Tree]]:
    def make(folder: Path) -> list[Tree]:
        if suffix.startswith(".mg"):
            kinds = [(nibabel.MGHImage, "i2", 1), (nibabel.MGHImage, "f4", 1)]
        else:
            kinds = [(nibabel.Nifti1Image, "i2", 1), (nibabel.Nifti1Image, "u1", 0.5)]
            kinds += [(nibabel.Nifti2Image, "f4", 1)]
        return [volume_of(folder, suffix, *kind) for kind in kinds]

    return make


def make_analyze(folder: Path) -> list[Tree]:
    tree = volume_of(folder, ".img", nibabel.Spm99AnalyzeImage, "i2")
    return [{**tree, "a.hdr": (folder / "a.hdr").read_bytes()}]


def make_dicom(folder: Path) -> list[Tree]:
    found = []
    for number in range(3):
        data = pydicom.Dataset()
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=["a"])
        data.SeriesInstanceUID = generate_uid(entropy_srcs=["b"])
        data.Rows, data.Columns = 5, 6
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelSpacing, data.SliceThickness = [0.8, 1.25], 2
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, 2 * number]
        data.RescaleSlope, data.RescaleIntercept = 2, -10
        data.PixelData = np.arange(30, dtype="<i2").tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = io.BytesIO()
        pydicom.dcmwrite(file, data, enforce_file_format=True)
        found.append(file.getvalue())
    series = {f"series/{number}.dcm": content for number, content in enumerate(found)}
    return [series, {"series/0.dcm": found[0]}]


def dicom(rng: random.Random, data: bytes) -> bytes:
    """A DICOM file damaged behind its preamble, which says nothing."""
    return data[:128] + damaged(rng, data[128:]) if rng.random() < 0.9 else damaged(rng, data)


# Zarr


def tree_of(folder: Path, name: str) -> Tree:
    found = sorted(path for path in (folder / name).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def make_zarr(version: int) -> Callable[[Path], list[Tree]]:
    def make(folder: Path) -> list[Tree]:
        found = []
        options = [{}, {"compressors": None}]
        if version == 3:
            options += [{"shards": (16, 12, 3)}, {"dimension_names": ("y", "x", "c")}]
        for number, more in enumerate(options):
            inner = folder / str(version) / str(number)
            array = zarr.create_array(
                store=str(inner / "a.zarr"), shape=RGB.shape, chunks=(8, 12, 3), dtype="u1",
                zarr_format=version, **more,
            )  # fmt: skip
            array[:] = RGB
            found.append(tree_of(inner, "a.zarr"))
        return found

    return make


def make_ome_zarr(version: int) -> Callable[[Path], list[Tree]]:
    def make(folder: Path) -> list[Tree]:
        values = np.random.default_rng(1).integers(0, 99, (1, 2, 1, 19, 23)).astype(np.uint8)
        write_ome(folder / str(version) / "a.zarr", version, values, 2)
        return [tree_of(folder / str(version), "a.zarr")]

    return make


# Rasters on the ground, slides


def geo_of(path: Path, values: np.ndarray, driver: str = "GTiff", **options: object) -> Tree:
    form = {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(
        path, "w", driver=driver, dtype=values.dtype, **form, **place, **options
    ) as file:
        file.write(values)
    return {path.name: path.read_bytes()}


def make_geotiff(folder: Path) -> list[Tree]:
    bands, tiles = np.moveaxis(RGB, -1, 0), {"tiled": True, "blockxsize": 16, "blockysize": 16}
    scaled = folder / "c.tif"
    geo_of(scaled, GREY[None].astype(np.int16), nodata=-7)
    with rasterio.open(scaled, "r+") as file:
        file.scales, file.offsets = (0.5,), (3.0,)
    return [
        geo_of(folder / "a.tif", bands, compress="deflate", **tiles),
        geo_of(folder / "a.tif", GREY[None], nodata=5, compress="lzw"),
        {"a.tif": scaled.read_bytes()},
    ]


def make_jpeg_2000(folder: Path) -> list[Tree]:
    return [geo_of(folder / "a.jp2", GREY[None], "JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")]


def make_vrt(folder: Path) -> list[Tree]:
    tree = geo_of(folder / "b.tif", np.moveaxis(RGB, -1, 0))
    rasterio.shutil.copy(folder / "b.tif", folder / "a.vrt", driver="VRT")
    return [{**tree, "a.vrt": (folder / "a.vrt").read_bytes()}]


def make_slide(folder: Path) -> list[Tree]:
    write_slide(folder / "a.svs", (70, 90), 1)
    return [{"a.svs": (folder / "a.svs").read_bytes()}]


# Numbers


def make_npy(folder: Path) -> list[Tree]:
    found = []
    for values in (GREY, RGB, GREY.astype(">f4"), np.asfortranarray(GREY.astype("u2")), GREY > 9):
        file = io.BytesIO()
        np.save(file, values)
        found.append({"a.npy": file.getvalue()})
    return found


def check_npy(path: str) -> files.Image:
    """NumPy reads the same, where anything is read."""
    image = check_image(path)
    values = np.load(path, allow_pickle=False)
    if not np.array_equal(image.pixels, values, equal_nan=values.dtype != bool):
        raise Wrong("other values than NumPy's")
    return image


def make_csv(folder: Path) -> list[Tree]:
    texts = ["1,2,3\n4.5,5,6e2\n", "1;2\r\n3;-4\r\n", "0.5 1\n\n2 nan\n", "1\t2\n3\t4", "7\r8\r"]
    return [{"a.csv": text.encode()} for text in texts]


def check_csv(path: str) -> files.Image:
    """What is read is what Python makes of the words."""
    image = check_image(path)
    words = Path(path).read_text("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in words.split("\n") if line.strip()]
    separator = next((mark for mark in ";\t," if mark in lines[0]), None)
    rows = [line.split(separator) for line in lines]
    expected = np.array([[float(word.strip()) for word in row] for row in rows])
    if not np.array_equal(image.pixels, expected, equal_nan=True):
        raise Wrong("other values than Python's")
    return image


def check_centers(path: str) -> None:
    found = files.read_centers(path, None)
    if found.ndim != 2 or not np.isfinite(found).all():
        raise Wrong(f"centres {found}")


# Models, and the other JSON


def make_model(folder: Path) -> list[Tree]:
    found = []
    for image, options in (
        (RGB, {"color_space": "lab", "names": ["a", "b", "c"]}),
        (RGB, {"keep_profile": True}),
        (RGB, {"standardize": True}),
        (GREY, {}),
        (GREY.astype(np.float32) / 7, {"keep_profile": True}),
    ):
        path = folder / f"{len(found)}.json"
        fastseg.segment(image, 3, random_state=0, **options).save(path)
        found.append({"a.json": path.read_bytes()})
    return found


def check_model(path: str) -> None:
    """A model that is read labels its images, and is what it was when it is saved again."""
    model = fastseg.load_model(path)
    image = {1: GREY, 3: RGB}.get(model.n_channels)
    if image is None:
        raise Wrong(f"a model of {model.n_channels} channels")
    image = image.astype(model.dtype)
    try:
        labels = model.predict(image)
    except ValueError:
        return  # it is of other images, of another axis of channels
    if labels.max() >= model.n_clusters + model.start_label:
        raise Wrong(f"labels up to {labels.max()}")
    again = Path(path).parent / "again.json"
    model.save(again, overwrite=True)
    other = fastseg.load_model(again)
    if not np.array_equal(other.centers, model.centers) or other.names != model.names:
        raise Wrong("another model when it is saved and read again")


def make_calibration(folder: Path) -> list[Tree]:
    each = costs.Costs(0.1, 1e-4, 1e-9, 1e-9, 1e-9, 1e-9)
    stored = {"version": 1, "machine": costs.machine()}
    stored["costs"] = {"cpu": vars(each), "cuda": vars(each)}
    return [{"a.json": json.dumps(stored).encode()}]


def check_calibration(path: str) -> None:
    """What cannot be read is told in words, and never stops a fit."""
    found = costs.load_calibration()
    if isinstance(found, str):
        raise ValueError(f"{path}: {found}")
    if not all(math.isfinite(x) for each in found.costs.values() for x in vars(each).values()):
        raise Wrong(f"{found}")


def one(suffix: str, mutate: mutation.Mutate) -> Callable[[random.Random, Tree], Tree]:
    return in_tree((rf"{suffix}$", mutate))


_ZARR = in_tree((r"json$|\.z[a-z]+$", mutation.json_text))
KINDS = {
    "png": Kind("a.png", make_png, one("png", mutation.png), check_image),
    "mask": Kind("a.png", make_png, one("png", mutation.png), check_mask),
    "jpeg": Kind("a.jpg", pictures(".jpg", "L", "RGB", "CMYK"), one("jpg", damaged), check_image),
    "webp": Kind("a.webp", pictures(".webp", "RGB", "RGBA"), one("webp", damaged), check_image),
    "bmp": Kind("a.bmp", pictures(".bmp", "L", "RGB", "P", "1"), one("bmp", damaged), check_image),
    "gif": Kind("a.gif", make_gif, one("gif", damaged), check_image),
    "tiff": Kind("a.tif", make_tiff, one("tif", mutation.tiff), check_image, True),
    "tiff-pillow": Kind("a.tif", make_pillow_tiff, one("tif", mutation.tiff), check_image, True),
    "ome-tiff": Kind("a.tif", make_ome_tiff, one("tif", ome_words), check_image),
    "nifti": Kind("a.nii", volumes(".nii"), one("nii", damaged), check_image),
    "nifti-gz": Kind(
        "a.nii.gz", volumes(".nii.gz"), one("gz", mutation.packed_gzip(damaged)), check_image
    ),
    "mgh": Kind("a.mgh", volumes(".mgh"), one("mgh", damaged), check_image),
    "analyze": Kind("a.img", make_analyze, in_tree(), check_image),
    "dicom": Kind("series", make_dicom, one("dcm", dicom), check_image),
    "zarr-2": Kind("a.zarr", make_zarr(2), _ZARR, check_image),
    "zarr-3": Kind("a.zarr", make_zarr(3), _ZARR, check_image),
    "ome-zarr-2": Kind("a.zarr", make_ome_zarr(2), _ZARR, check_image),
    "ome-zarr-3": Kind("a.zarr", make_ome_zarr(3), _ZARR, check_image),
    "geotiff": Kind("a.tif", make_geotiff, one("tif", mutation.tiff), check_image, True),
    "jpeg-2000": Kind("a.jp2", make_jpeg_2000, one("jp2", damaged), check_image, True),
    "vrt": Kind("a.vrt", make_vrt, in_tree(("vrt$", mutation.text)), check_image, True),
    "slide": Kind("a.svs", make_slide, one("svs", mutation.tiff), check_image),
    "npy": Kind("a.npy", make_npy, one("npy", mutation.npy), check_npy),
    "csv": Kind("a.csv", make_csv, one("csv", mutation.text), check_csv),
    "centers": Kind("a.csv", make_csv, one("csv", mutation.text), check_centers),
    "model": Kind("a.json", make_model, one("json", mutation.json_text), check_model),
    "calibration": Kind(
        "a.json", make_calibration, one("json", mutation.json_text), check_calibration
    ),
}


def mutant(kind: str, trees: list[Tree], number: int) -> Tree:
    """The mutant of a number, the same on every machine."""
    rng = random.Random(f"{kind} {number}")
    tree = rng.choice(trees)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        tree = KINDS[kind].mutate(rng, tree)
    return tree
