"""Medical volumes in and labels out: values, places, and files that are refused."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as pillow

import fastseg
from fastseg.io import read_channels, read_image, read_mask, write_labels

RNG = np.random.default_rng(31)
SHAPE = (7, 5, 6)
# Three tissues, in unequal parts.
TISSUES = RNG.choice(3, SHAPE, p=[0.5, 0.3, 0.2])
VALUES = (np.array([20, 90, 160])[TISSUES] + RNG.integers(-9, 10, SHAPE)).astype(np.uint8)
AFFINE = np.array(
    [[-0.7, 0.1, 0.02, 61.3], [0.09, 1.1, -0.2, -30.25], [0.03, 0.15, 2.3, -12.125], [0, 0, 0, 1]]
)


def volume(kind=nibabel.Nifti1Image, values=VALUES, affine=AFFINE):
    return kind(values, affine)


def save(image, path):
    nibabel.save(image, path)
    return path


def orthogonal():
    """An affine of turned axes without shear, whose quaternion says the same."""
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array([0.7, 1.1, 2.3])
    affine[:3, 3] = 61.3, -30.25, -12.125
    return affine


# Reading


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        (nibabel.Nifti1Image, ".nii"),
        (nibabel.Nifti1Image, ".nii.gz"),
        (nibabel.Nifti2Image, ".nii.gz"),
        (nibabel.Nifti1Pair, ".img"),
        (nibabel.Spm99AnalyzeImage, ".img"),
        (nibabel.MGHImage, ".mgh"),
        (nibabel.MGHImage, ".mgz"),
    ],
)
def test_volumes_are_read_as_nibabel_reads_them(tmp_path, kind, suffix):
    path = save(volume(kind), tmp_path / f"a{suffix}")
    image = read_image(path)
    # nibabel.load leaves .mgh files open.
    theirs = kind.from_bytes(path.read_bytes()) if suffix == ".mgh" else nibabel.load(path)
    assert (image.grid, image.n_channels, image.scale) == (SHAPE, 1, None)
    assert image.pixels.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, np.asarray(theirs.dataobj))
    np.testing.assert_array_equal(image.geometry.affine, theirs.affine)
    np.testing.assert_allclose(image.geometry.voxel_size, nibabel.affines.voxel_sizes(AFFINE))


def test_stored_integers_stay_and_their_scale_comes_along(tmp_path):
    scaled = volume(values=VALUES.astype(np.int16))
    scaled.header.set_slope_inter(0.25, -3)
    image = read_image(save_raw(scaled, tmp_path / "a.nii.gz"))
    assert image.pixels.dtype == np.int16
    slope, intercept = image.scale
    theirs = nibabel.load(tmp_path / "a.nii.gz").get_fdata()
    np.testing.assert_array_equal(image.pixels * slope + intercept, theirs)
    assert image.notes == ("Stored int16 values stand for 0.25 times as much - 3.",)


def save_raw(image, path):
    """Save stored values with the slope of the header; nibabel would choose its own."""
    data = np.asanyarray(image.dataobj)
    header = image.header.copy()
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = (
        352,
        *image.header.get_slope_inter(),
    )
    content = header.binaryblock + bytes(4) + data.tobytes(order="F")
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(content)
    return path


@pytest.mark.parametrize(
    ("shape", "grid", "axis"),
    [((4, 3, 5, 1), (4, 3, 5), None), ((4, 3, 5, 2), (4, 3, 5), "auto"), ((4, 3), (4, 3), None),
     ((4, 3, 5, 1, 2), (4, 3, 5), "auto")],
)  # fmt: skip
def test_axes_of_length_one_are_dropped_and_the_fourth_may_be_channels(tmp_path, shape, grid, axis):
    path = save(volume(values=RNG.integers(0, 9, shape, dtype=np.uint8)), tmp_path / "a.nii")
    image = read_image(path)
    assert (image.grid, image.channel_axis) == (grid, axis)


def test_what_is_mended_in_a_header_is_noted_and_not_printed(tmp_path, capsys):
    path = save(volume(), tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[80:84] = np.float32(-1.5).tobytes()  # a negative zoom
    path.write_bytes(content)
    assert read_image(path).notes == (
        "Header: pixdim[1,2,3] should be positive; setting to abs of pixdim values.",
    )
    assert capsys.readouterr() == ("", "")


# Writing


def labels_of(path):
    labels = nibabel.load(path)
    return labels, np.asarray(labels.dataobj)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_affine_zooms_and_codes_are_bit_equal_after_a_round_trip(tmp_path, kind, suffix):
    scan = volume(kind)
    scan.set_sform(AFFINE, 4)
    scan.set_qform(orthogonal(), 2)
    scan.header.set_xyzt_units("mm", "sec")
    scan.header["descrip"] = b"a scan"
    theirs = nibabel.load(save(scan, tmp_path / f"scan{suffix}"))
    image = read_image(tmp_path / f"scan{suffix}")
    result = fastseg.segment(image, 3)
    write_labels(tmp_path / f"labels{suffix}", result.labels, geometry=image.geometry)
    labels, array = labels_of(tmp_path / f"labels{suffix}")
    assert type(labels) is type(theirs)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, TISSUES + 1)
    assert labels.affine.tobytes() == theirs.affine.tobytes()
    assert labels.header.get_zooms() == theirs.header.get_zooms()
    for form in ("get_sform", "get_qform"):
        ours, code = getattr(labels.header, form)(coded=True)
        expected, expected_code = getattr(theirs.header, form)(coded=True)
        assert (ours.tobytes(), code) == (expected.tobytes(), expected_code)
    for field in ("descrip", "xyzt_units"):
        assert labels.header[field] == theirs.header[field]
    assert labels.header.get_intent()[0] == "label"


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.sampled_from([3, 255, 256, 32_767, 32_768]),
    st.booleans(),
    st.sampled_from([".nii", ".nii.gz"]),
)
@settings(max_examples=40, deadline=None)
def test_any_labels_come_back_as_they_were(shape, largest, turned, suffix):
    labels = np.random.default_rng(largest).integers(0, largest + 1, shape).astype(np.uint32)
    labels.flat[0] = largest
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a{suffix}"
        write_labels(path, np.asfortranarray(labels) if turned else labels)
        image = nibabel.load(path)
        np.testing.assert_array_equal(np.asarray(image.dataobj), labels)


def test_simpleitk_sees_the_labels_on_the_grid_of_the_scan(tmp_path):
    save(volume(affine=orthogonal()), tmp_path / "scan.nii.gz")
    image = read_image(tmp_path / "scan.nii.gz")
    write_labels(tmp_path / "labels.nii.gz", fastseg.segment(image, 3).labels,
                 geometry=image.geometry)  # fmt: skip
    scan, labels = (SimpleITK.ReadImage(str(tmp_path / f"{n}.nii.gz")) for n in ("scan", "labels"))
    for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(labels, part)() == getattr(scan, part)()
    array = SimpleITK.GetArrayFromImage(labels).T
    np.testing.assert_array_equal(array, TISSUES + 1)
    np.testing.assert_array_equal(array, labels_of(tmp_path / "labels.nii.gz")[1])


def test_labels_of_an_analyze_scan_and_of_no_scan_are_nifti(tmp_path):
    save(volume(nibabel.MGHImage), tmp_path / "a.mgz")
    image = read_image(tmp_path / "a.mgz")
    write_labels(tmp_path / "a.nii", TISSUES, geometry=image.geometry)
    labels, array = labels_of(tmp_path / "a.nii")
    np.testing.assert_array_equal(labels.affine, image.geometry.affine)
    write_labels(tmp_path / "b.nii.gz", TISSUES)
    labels, array = labels_of(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(array, TISSUES)
    assert (labels.header["sform_code"], labels.header["qform_code"]) == (0, 0)


@pytest.mark.parametrize(("largest", "dtype"), [(255, "uint8"), (256, "int16"), (40_000, "int32")])
def test_the_smallest_type_that_viewers_take_is_written(tmp_path, largest, dtype):
    labels = np.array([[[0, largest]]], np.uint32)
    write_labels(tmp_path / "a.nii.gz", labels)
    read, array = labels_of(tmp_path / "a.nii.gz")
    assert read.get_data_dtype() == dtype
    np.testing.assert_array_equal(array, labels)


def test_names_stand_in_an_extension_as_ascii(tmp_path):
    write_labels(tmp_path / "a.nii.gz", TISSUES + 1, names={1: "CSF", 2: "Großhirn"})
    (extension,) = nibabel.load(tmp_path / "a.nii.gz").header.extensions
    assert extension.get_code() == 6
    content = json.loads(extension.get_content())
    assert content == {"fastseg": {"classes": {"1": "CSF", "2": "Großhirn"}}}


def test_names_are_those_of_the_labels_alone(tmp_path):
    """Neither those of an earlier call, nor those of labels that are segmented again."""
    save(volume(), tmp_path / "scan.nii")
    geometry = read_image(tmp_path / "scan.nii").geometry
    comment = nibabel.nifti1.Nifti1Extension(6, b"made by hand")
    geometry.header.extensions.append(comment)
    for name in ("a", "b"):
        write_labels(tmp_path / f"{name}.nii", TISSUES, names={1: name}, geometry=geometry)
    again = read_image(tmp_path / "b.nii").geometry
    write_labels(tmp_path / "c.nii", TISSUES, geometry=again)
    for name, expected in (("a", ['"a"']), ("b", ['"b"']), ("c", [])):
        extensions = nibabel.load(tmp_path / f"{name}.nii").header.extensions
        contents = [e.get_content().decode() for e in extensions]
        assert contents[0].rstrip("\0") == "made by hand"
        assert len(contents) == 1 + len(expected)
        assert all(word in contents[1] for word in expected)


def test_a_picture_of_labels_tells_their_names_in_a_comment(tmp_path):
    write_labels(tmp_path / "a.png", TISSUES[0], names={0: "sky", 1: "Wälder", 2: "sea"})
    with pillow.open(tmp_path / "a.png") as picture:
        content = json.loads(picture.info["Comment"])
        np.testing.assert_array_equal(np.asarray(picture), TISSUES[0])
    assert content == {"fastseg": {"classes": {"0": "sky", "1": "Wälder", "2": "sea"}}}


def test_equal_labels_are_equal_files_and_both_kinds_of_gzip_read_them(tmp_path, monkeypatch):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, TISSUES)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    monkeypatch.setitem(sys.modules, "isal", None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").pixels, TISSUES)
    write_labels(tmp_path / "c.nii.gz", TISSUES)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_image(tmp_path / "c.nii.gz").pixels, TISSUES)


def test_a_picture_cannot_hold_a_volume_nor_a_nifti_file_a_long_side(tmp_path):
    with pytest.raises(ValueError, match="two-dimensional"):
        write_labels(tmp_path / "a.png", TISSUES)
    with pytest.raises(ValueError, match="at most 32,767 long"):
        write_labels(tmp_path / "a.nii", np.zeros((1, 40_000), np.uint8))
    assert list(tmp_path.iterdir()) == []


# Several files


def test_files_of_one_grid_are_channels_each_with_its_scale(tmp_path):
    save(volume(), tmp_path / "t1.nii.gz")
    t2 = volume(values=(VALUES.astype(np.int16) * 3))
    t2.header.set_slope_inter(0.5, 1)
    save_raw(t2, tmp_path / "t2.nii")
    image = read_channels([tmp_path / "t1.nii.gz", tmp_path / "t2.nii"])
    assert (image.grid, image.n_channels, image.channel_axis) == (SHAPE, 2, 3)
    np.testing.assert_array_equal(image.pixels, np.stack([VALUES, VALUES * np.int16(3)], axis=-1))
    np.testing.assert_array_equal(image.scale, [[1, 0.5], [0, 1]])
    result = fastseg.segment([tmp_path / "t1.nii.gz", str(tmp_path / "t2.nii")], 3, random_state=0)
    means = [VALUES[tissue == TISSUES].mean() for tissue in range(3)]
    np.testing.assert_allclose(result.centers, [[m, 1.5 * m + 1] for m in means])


def test_a_flat_array_may_be_the_mask_of_a_volume(tmp_path):
    save(volume(), tmp_path / "a.nii")
    np.save(tmp_path / "mask.npy", TISSUES > 0)  # six slices, which might be channels
    result = fastseg.segment(tmp_path / "a.nii", 2, mask=tmp_path / "mask.npy")
    np.testing.assert_array_equal(result.labels, TISSUES)


def test_another_grid_is_refused_with_the_numbers(tmp_path):
    save(volume(), tmp_path / "a.nii")
    save(volume(values=VALUES[:-1]), tmp_path / "small.nii")
    moved = AFFINE.copy()
    moved[2, 3] += 2.5
    save(volume(affine=moved), tmp_path / "moved.nii")
    rounded = AFFINE.copy()
    rounded[0, 0] += 1e-3
    save(volume(affine=rounded), tmp_path / "rounded.nii")
    for name, words in (
        ("small.nii", r"grid \(6, 5, 6\), but .*a.nii has \(7, 5, 6\)"),
        ("moved.nii", r"moved.nii .*voxels lie up to 2.5 mm away"),
    ):
        with pytest.raises(ValueError, match=words):
            read_channels([tmp_path / "a.nii", tmp_path / name])
        with pytest.raises(ValueError, match=words.replace("a.nii has", "the image has")):
            fastseg.segment(tmp_path / "a.nii", 2, mask=tmp_path / name)
    assert read_channels([tmp_path / "a.nii", tmp_path / "rounded.nii"]).n_channels == 2


def test_a_mask_with_a_scale_is_zero_where_it_stands_for_zero(tmp_path):
    mask = volume(values=np.where(TISSUES > 0, 7, 2).astype(np.int16))
    mask.header.set_slope_inter(0.5, -1)
    np.testing.assert_array_equal(read_mask(save_raw(mask, tmp_path / "m.nii")), TISSUES > 0)


# Refused


@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, -3])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_a_truncated_volume_is_refused(tmp_path, suffix, part):
    kind = nibabel.MGHImage if suffix == ".mgz" else nibabel.Nifti1Image
    noise = RNG.integers(0, 256, (30, 30, 30), dtype=np.uint8)
    path = save(volume(kind, noise), tmp_path / f"a{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(part if part < 0 else len(content) * part)])
    with pytest.raises(ValueError, match=r"^\S+/a\.\S+: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path):
    noise = RNG.integers(0, 256, (30, 30, 30), dtype=np.uint8)
    path = save(volume(values=noise), tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="CRC"):
        read_image(path)


def test_what_is_no_volume_is_refused(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"<html>not found</html>" * 99)
    with pytest.raises(ValueError, match=r"a.nii: the volume cannot be read"):
        read_image(tmp_path / "a.nii")
    save(volume(values=np.ones(SHAPE, np.complex64)), tmp_path / "b.nii")
    with pytest.raises(ValueError, match="holds complex64 values"):
        read_image(tmp_path / "b.nii")
    save(volume(values=np.ones((2, 2, 2, 2, 2), np.uint8)), tmp_path / "c.nii")
    with pytest.raises(ValueError, match=r"has the shape \(2, 2, 2, 2, 2\)"):
        read_image(tmp_path / "c.nii")
    save(volume(), tmp_path / "d.nii")
    with pytest.raises(ValueError, match=r"has 210 values, more than the limit of 99"):
        read_image(tmp_path / "d.nii", max_pixels=99)


@pytest.mark.parametrize(
    ("module", "work"),
    [
        ("nibabel", lambda folder: read_image(folder / "a.nii")),
        ("nibabel", lambda folder: write_labels(folder / "b.nii.gz", TISSUES)),
        ("cc3d", lambda folder: fastseg.objects(TISSUES)),
    ],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, module, work):
    save(volume(), tmp_path / "a.nii")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "fastseg\[mri\]"'):
        work(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]
