"""A real head with tissue truth: the template MNI152 as nilearn ships it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest

import fastseg
from fastseg.cli import main


def template(part):
    """File of the head ("t1"), or of the probability of a tissue ("gm", "wm")."""
    # Without importing nilearn, which takes seconds.
    folder = Path(find_spec("nilearn").origin).parent / "datasets" / "data"
    return folder / f"mni_icbm152_{part}_tal_nlin_sym_09a_converted.nii.gz"


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def truth():
    """The most probable tissue of each voxel: 1 for grey, 2 for white matter, else 0."""
    grey, white = (np.asarray(nibabel.load(template(p)).dataobj).astype(int) for p in ("gm", "wm"))
    return np.stack([np.maximum(255 - grey - white, 0), grey, white]).argmax(axis=0)


def test_three_clusters_are_the_tissues(truth, tmp_path, capsys):
    labels = tmp_path / "labels.nii.gz"
    words = ["segment", str(template("t1")), str(labels), "-k", "3", "--nodata", "0"]
    assert main([*words, "--names", "CSF,GM,WM"]) == 0
    assert "WM" in capsys.readouterr().out
    written = nibabel.load(labels)
    scan = nibabel.load(template("t1"))
    assert written.affine.tobytes() == scan.affine.tobytes()
    found = np.asarray(written.dataobj)
    np.testing.assert_array_equal(found == 0, np.asarray(scan.dataobj) == 0)
    assert dice(found == 2, truth == 1) >= 0.90
    assert dice(found == 3, truth == 2) >= 0.93


def test_a_cut_through_the_head_has_the_tissues_of_the_whole(truth):
    """A model of a slice, taken to another intensity scale, labels the next one."""
    head = np.asarray(nibabel.load(template("t1")).dataobj)
    model = fastseg.segment(head[:, :, 80], 3, nodata=0, names=["CSF", "GM", "WM"])
    other = np.where(head[:, :, 81] > 0, head[:, :, 81] * 7.5 + 300, 0)
    for match in ("histogram", "zscore"):
        labels = model.predict(other, nodata=0, match=match)
        assert dice(labels == 2, truth[:, :, 81] == 1) >= 0.88
        assert dice(labels == 3, truth[:, :, 81] == 2) >= 0.90
