"""DICOM: the folder of a series as a volume.

DICOM PS3.3, C.7.6.2 (Image Plane), and PS3.5, A.4.2 and A.5 (encapsulated RLE, deflated),
https://dicom.nema.org/medical/dicom/current.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .failures import check_memory, words_of
from .image import Geometry, Image
from .inner_sizes import check_inner

_MAGIC = b"DICM"
_TAGS = (
    "SeriesInstanceUID", "SeriesDescription", "Rows", "Columns", "SamplesPerPixel",
    "NumberOfFrames", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing",
    "SliceThickness", "RescaleSlope", "RescaleIntercept", "BitsAllocated",
)  # fmt: skip
_NEEDED = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
# Part by which the steps from slice to slice may differ, for positions in few digits.
_UNEVEN = 0.05
# Bytes that all but the pixels may take where a file is deflated, and those of a value.
_MOST_HEAD, _VALUE = 2**22, 8
_RLE_PACKED = 64  # values for a byte of run-length encoding, at most
# DICOM looks to the left and the back, NIfTI to the right and the front.
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: str, max_pixels: int | None) -> Image:
    """Read the slices of a series by position: axes are column, row and slice."""
    names = _files(path)
    try:
        import pydicom
    except ImportError as error:
        raise ImportError(
            f'{path}: DICOM files need pydicom: pip install "fastseg[mri]"'
        ) from error
    try:
        headers = [
            (
                name,
                pydicom.dcmread(
                    _inflated(name, _MOST_HEAD), stop_before_pixels=True, specific_tags=list(_TAGS)
                ),
            )
            for name in names
        ]
    except Exception as error:
        raise ValueError(f"{path}: a DICOM file cannot be read ({words_of(error)})") from error
    slices = _one_series(path, [(name, h) for name, h in headers if "Rows" in h])
    slices, affine = _placed(path, slices)
    first = slices[0][1]
    shape = (len(slices), int(first.Rows), int(first.Columns))
    n = int(np.prod(shape, dtype=object))
    if max_pixels is not None and n > max_pixels:
        raise ValueError(
            f"{path}: has {n:,} voxels, more than the limit of {max_pixels:,}; raise it with"
            f" --max-pixels {n} (in Python: max_pixels)"
        )
    check_memory(
        path, n * int(first.get("BitsAllocated") or 8) // 8, f"its {n:,} voxels take",
        "keep fewer slices in the folder",
    )  # fmt: skip
    return _image([_pixels(pydicom, name, shape[1:]) for name, _ in slices], slices, affine)


def _files(path: str) -> list[str]:
    """DICOM files of a folder, or the one file."""
    if os.path.isfile(path):
        names = [path]
    else:
        names = sorted(entry.path for entry in os.scandir(path) if entry.is_file())
    found = [name for name in names if _is_dicom(name)]
    if not found and os.path.isfile(path):
        raise ValueError(f"{path}: is not a DICOM file")
    if not found:
        raise IsADirectoryError(
            f"{path}: is a folder without DICOM files; give the name of an image file, or the"
            " folder of a DICOM series"
        )
    return found


def _is_dicom(name: str) -> bool:
    with open(name, "rb") as file:
        return file.read(132)[128:] == _MAGIC


def _one_series(path: str, slices: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Refuse what is not one series of single grey slices on one plane."""
    if not slices:
        raise ValueError(f"{path}: its DICOM files hold no images")
    series: dict[str, list[Any]] = {}
    for _, header in slices:
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(header)
    if len(series) > 1:
        listed = ", ".join(
            f"{str(group[0].get('SeriesDescription', '')) or uid!r} (slices: {len(group)})"
            for uid, group in series.items()
        )
        raise ValueError(
            f"{path}: holds {len(series)} series: {listed}; put the one to read into a folder"
            " of its own"
        )
    first_name, first = slices[0]
    for name, header in slices:
        for tag in _NEEDED:
            if header.get(tag) is None:
                raise ValueError(f"{name}: has no {tag}, without which it has no place in space")
        if header.get("SamplesPerPixel", 1) != 1 or int(header.get("NumberOfFrames") or 1) > 1:
            raise ValueError(
                f"{name}: is in colour or holds several frames; series of single grey slices are"
                " read"
            )
        for tag in ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing"):
            ours, theirs = (np.array(h.get(tag), np.float64) for h in (header, first))
            if not np.allclose(ours, theirs, rtol=1e-4, atol=1e-4):
                raise ValueError(
                    f"{name}: has {tag} {header.get(tag)}, but {first_name} has {first.get(tag)};"
                    " keep slices of one kind in the folder"
                )
    return slices


def _placed(
    path: str, slices: list[tuple[str, Any]]
) -> tuple[list[tuple[str, Any]], NDArray[np.float64]]:
    """Slices by position, and the affine from (column, row, slice) to millimetres (RAS)."""
    first = slices[0][1]
    along_row, along_column = np.array(first.ImageOrientationPatient, np.float64).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    heights = np.array([np.array(h.ImagePositionPatient, np.float64) @ normal for _, h in slices])
    order = np.argsort(heights, kind="stable")
    slices = [slices[i] for i in order]
    _check_steps(path, np.diff(heights[order]))
    origin, last = (
        np.array(slices[i][1].ImagePositionPatient, np.float64) for i in (0, len(slices) - 1)
    )
    step = normal * float(first.get("SliceThickness") or 1.0)
    if len(slices) > 1:
        step = (last - origin) / (len(slices) - 1)
    between_rows, between_columns = (float(length) for length in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns
    affine[:3, 1] = along_column * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return slices, _TO_RAS @ affine


def _check_steps(path: str, steps: NDArray[np.float64]) -> None:
    if len(steps) == 0:
        return
    low, high = float(steps.min()), float(steps.max())
    if low <= 1e-4:
        raise ValueError(
            f"{path}: several slices lie at one position (echoes, or points in time?); put one"
            " slice for each position into a folder of its own"
        )
    if high - low > _UNEVEN * float(np.median(steps)):
        raise ValueError(
            f"{path}: the steps from slice to slice go from {low:.4g} to {high:.4g} mm; is a slice"
            " missing?"
        )


def _pixels(pydicom: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        dataset = pydicom.dcmread(_inflated(name, _MOST_HEAD + _VALUE * math.prod(shape)))
        _check_frame(dataset, math.prod(shape))
        pixels: NDArray[Any] = dataset.pixel_array
    except Exception as error:
        raise ValueError(f"{name}: its pixels cannot be read ({words_of(error)})") from error
    if pixels.shape != shape:
        raise ValueError(f"{name}: holds {pixels.shape} pixels where its header says {shape}")
    return pixels


def _inflated(name: str, most: int) -> Any:
    """A file, or where it is deflated as a whole, its first bytes as if it were not."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

    with open(name, "rb") as file:
        head = file.read(len(_MAGIC) + 128)
        meta = FileMetaDataset(
            read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        )
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return name
        packed = file.read()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain: Any = io.BytesIO(head)
    plain.seek(len(head))
    write_file_meta_info(plain, meta, enforce_standard=False)
    # What is large by itself may stand before the pixels.
    most += 4 * len(packed)
    plain.write(zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most))
    plain.seek(0)
    return plain


def _check_frame(dataset: Any, n_values: int) -> None:
    """Refuse packed pixels that are another picture than the header says."""
    from pydicom.encaps import generate_frames
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return
    for frame in generate_frames(dataset.PixelData, number_of_frames=1):
        check_inner(frame, n_values)
        if syntax == RLELossless and len(frame) * _RLE_PACKED < n_values:
            raise ValueError(f"{len(frame):,} bytes hold no {n_values:,} values")


def _image(
    planes: list[NDArray[Any]], slices: list[tuple[str, Any]], affine: NDArray[np.float64]
) -> Image:
    scales = [
        (float(h.get("RescaleSlope") or 1), float(h.get("RescaleIntercept") or 0))
        for _, h in slices
    ]
    geometry = Geometry(affine)
    if len(set(scales)) == 1:
        image = Image(np.stack(planes).T, None, geometry=geometry)
        return image if scales[0] == (1.0, 0.0) else image.scaled(*scales[0])
    meant = [p * slope + inter for p, (slope, inter) in zip(planes, scales, strict=True)]
    note = "Every slice has a scale of its own; the values were scaled, to float32."
    return Image(np.stack(meant, dtype=np.float32, casting="same_kind").T, None, notes=(note,),
                 geometry=geometry)  # fmt: skip
