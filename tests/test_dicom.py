"""DICOM series: the slices of a folder as a volume at its place."""

from __future__ import annotations

import sys

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import fragment_frame, generate_frames, itemize_fragment
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

import fastseg
from fastseg.io import read_image, write_labels

RNG = np.random.default_rng(77)
N, ROWS, COLUMNS = 6, 5, 7
VOLUME = RNG.integers(0, 900, (N, ROWS, COLUMNS)).astype(np.int16)
SPACING = (0.8, 1.25)  # between rows, between columns
STEP = 2.5
SERIES, STUDY = generate_uid(), generate_uid()
# Rows and columns of a turned plane, in the digits that scanners write.
TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0].T.round(6)
ORIGIN = np.array([-31.5, 20.25, 7.75])


def slice_of(number, pixels=None, *, plane=TURN[:2], **tags):
    """Data set of one slice, number 0 being the first along the normal."""
    pixels = VOLUME[number] if pixels is None else pixels
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, SERIES
    data.Modality, data.SeriesDescription, data.PatientID = "MR", "T1 axial", "phantom"
    data.InstanceNumber = 100 - number
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.PixelSpacing, data.SliceThickness = list(SPACING), STEP
    data.ImageOrientationPatient = plane.ravel().tolist()
    normal = np.cross(*plane)
    data.ImagePositionPatient = (ORIGIN + number * STEP * normal).round(6).tolist()
    data.PixelData = pixels.astype("<i2").tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def save(data, path, syntax=ExplicitVRLittleEndian):
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def series(folder, slices):
    folder.mkdir(exist_ok=True)
    # Names tell another order than positions do.
    for name, data in zip("caebfd", slices, strict=False):
        save(data, folder / f"{name}.dcm")
    return folder


@pytest.fixture
def folder(tmp_path):
    return series(tmp_path / "series", [slice_of(i) for i in range(N)])


def simpleitk(folder):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_a_series_is_a_volume_where_simpleitk_has_it(folder):
    image, theirs = read_image(folder), simpleitk(folder)
    assert image.pixels.dtype == np.int16
    assert image.grid == theirs.GetSize() == (COLUMNS, ROWS, N)
    np.testing.assert_array_equal(image.pixels.T, SimpleITK.GetArrayFromImage(theirs))
    np.testing.assert_array_equal(image.pixels.T, VOLUME)
    for index in [(0, 0, 0), (COLUMNS - 1, 0, 0), (0, ROWS - 1, 0), (2, 3, N - 1)]:
        left_back_top = np.array(theirs.TransformIndexToPhysicalPoint(index))
        place = image.geometry.affine @ [*index, 1]
        np.testing.assert_allclose(place[:3], left_back_top * [-1, -1, 1], atol=1e-4)
    np.testing.assert_allclose(image.geometry.voxel_size, (SPACING[1], SPACING[0], STEP), 1e-5)


def test_labels_of_a_series_are_nifti_at_the_same_place(folder, tmp_path):
    image = read_image(folder)
    result = fastseg.segment(folder, 3)
    assert result.labels.shape == image.grid
    write_labels(tmp_path / "labels.nii.gz", result.labels, geometry=image.geometry)
    labels, scan = SimpleITK.ReadImage(str(tmp_path / "labels.nii.gz")), simpleitk(folder)
    assert labels.GetSize() == scan.GetSize()
    for part in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(labels, part)(), getattr(scan, part)(), atol=1e-4)
    array = SimpleITK.GetArrayFromImage(labels)
    np.testing.assert_array_equal(array, result.labels.T)
    read = nibabel.load(tmp_path / "labels.nii.gz")
    np.testing.assert_allclose(read.affine, image.geometry.affine, atol=1e-5)
    assert (int(read.header["sform_code"]), int(read.header["qform_code"])) == (1, 1)


def test_rescaled_values_are_what_is_clustered(tmp_path):
    slices = [slice_of(i, RescaleSlope=1, RescaleIntercept=-1024) for i in range(N)]
    image = read_image(series(tmp_path / "ct", slices))
    assert image.pixels.dtype == np.int16
    np.testing.assert_array_equal(image.scale, [[1], [-1024]])
    result, plain = fastseg.segment(image, 3), fastseg.segment(VOLUME.T, 3, channel_axis=None)
    np.testing.assert_allclose(result.centers, plain.centers - 1024, rtol=1e-12)
    np.testing.assert_array_equal(result.labels, plain.labels + 1)


def test_slices_with_scales_of_their_own_become_floats(tmp_path):
    slices = [slice_of(i, RescaleSlope=1 + i, RescaleIntercept=0) for i in range(N)]
    image = read_image(series(tmp_path / "pet", slices))
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels.T, VOLUME * (1.0 + np.arange(N))[:, None, None])
    assert "scale of its own" in image.notes[0]


def test_one_slice_is_a_volume_of_one(tmp_path):
    save(slice_of(2), tmp_path / "a.dcm")
    image = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(image.pixels[..., 0].T, VOLUME[2])
    np.testing.assert_allclose(image.geometry.voxel_size[2], STEP, 1e-5)


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        (
            [slice_of(0), slice_of(1, SeriesInstanceUID=generate_uid(),
                                   SeriesDescription="localizer")],
            r"holds 2 series: 'localizer' \(slices: 1\), 'T1 axial' \(slices: 1\)",
        ),
        ([slice_of(0), slice_of(1), slice_of(3)], "go from 2.5 to 5 mm; is a slice missing"),
        ([slice_of(0), slice_of(1), slice_of(1)], "several slices lie at one position"),
        ([slice_of(0), slice_of(1, plane=TURN[1:])], "has ImageOrientationPatient"),
        ([slice_of(0), slice_of(1, VOLUME[1, :4])], r"has Rows 5, but .*a.dcm has 4"),
        ([slice_of(0, PixelSpacing=None)], "has no PixelSpacing"),
        ([slice_of(0, NumberOfFrames=2)], "in colour or holds several frames"),
        ([slice_of(0, PixelData=b"\0\0")], "its pixels cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_volume_is_refused(tmp_path, slices, words):
    series(tmp_path / "series", slices)
    with pytest.raises(ValueError, match=words) as caught:
        read_image(tmp_path / "series")
    assert str(tmp_path / "series") in str(caught.value)


def test_deflated_and_packed_pixels_are_those_that_were_packed(tmp_path):
    for name, syntax in (("a", DeflatedExplicitVRLittleEndian), ("b", RLELossless)):
        data = slice_of(3, ImageComments="long " * 2000)
        if syntax == RLELossless:
            data.file_meta = FileMetaDataset()
            data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            data.compress(syntax, generate_instance_uid=False)
        save(data, tmp_path / f"{name}.dcm", syntax)
        image = read_image(tmp_path / f"{name}.dcm")
        np.testing.assert_array_equal(image.pixels[..., 0].T, VOLUME[3])


def test_much_that_is_deflated_before_the_pixels(tmp_path):
    data = slice_of(3)
    data.add_new(0x00091010, "OB", np.random.default_rng(0).bytes(2**23))
    save(data, tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").pixels[..., 0].T, VOLUME[3])


def test_a_frame_in_several_pieces_without_a_table_of_where_they_are(tmp_path):
    data = slice_of(3)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.compress(RLELossless, generate_instance_uid=False)
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    pieces = [b"", *fragment_frame(frame, 3)]  # the table is the first, and empty
    data.PixelData = b"".join(map(itemize_fragment, pieces)) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    save(data, tmp_path / "a.dcm", RLELossless)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").pixels[..., 0].T, VOLUME[3])


def test_a_deflated_file_that_is_cut_off(tmp_path):
    save(slice_of(3), tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian)
    content = (tmp_path / "a.dcm").read_bytes()
    for size in (len(content) - 40, len(content) - 400):
        (tmp_path / "a.dcm").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"a\.dcm: "):
            read_image(tmp_path / "a.dcm")


def test_a_folder_without_dicom_files_and_other_files_in_one(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    with pytest.raises(IsADirectoryError, match="is a folder without DICOM files"):
        read_image(tmp_path / "empty")
    (tmp_path / "a.dcm").write_text("nothing")
    with pytest.raises(ValueError, match=r"a.dcm: is not a DICOM file"):
        read_image(tmp_path / "a.dcm")
    (folder / "notes.txt").write_text("nothing")
    assert read_image(folder).grid == (COLUMNS, ROWS, N)
    with pytest.raises(ValueError, match="has 210 voxels, more than the limit of 99"):
        read_image(folder, max_pixels=99)


def test_a_missing_pydicom_is_named_with_its_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError, match=r'pip install "fastseg\[mri\]"'):
        read_image(folder)
