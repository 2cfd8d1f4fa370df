"""The course's images against its published results; shown as skipped where they are absent."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.cluster import hierarchy
from sklearn.cluster import KMeans

import fastseg
from fastseg.io import read_image

DATA = Path(os.environ.get("FASTSEG_COURSE_DATA", Path(__file__).parents[2] / "shared" / "data"))

pytestmark = pytest.mark.skipif(
    not (DATA / "healthy.csv").is_file(),
    reason=f"the course's data is not in {DATA} (FASTSEG_COURSE_DATA)",
)

# R's starting centres for set.seed(1), and what it published from them.
START = [0.435897436, 0.094017094, 0.072649573, 0.299145299, 0.098290598]
CENTERS = [0.48177191, 0.10619450, 0.01961886, 0.30942825, 0.18420578]
SIZES = [20556, 101085, 133162, 31555, 79278]


@pytest.fixture(scope="module")
def healthy():
    return fastseg.segment(DATA / "healthy.csv", 5, init=START, method="lloyd")


def test_the_published_clusters_of_the_healthy_brain(healthy):
    order = np.argsort(CENTERS)
    assert healthy.counts.tolist() == np.array(SIZES)[order].tolist()
    np.testing.assert_array_equal(np.round(healthy.centers[:, 0], 8), np.array(CENTERS)[order])
    assert round(healthy.inertia) == 303
    assert healthy.labels.shape == (566, 646)


def test_every_pixel_of_the_tumour_goes_to_its_nearest_centre(healthy):
    tumor = read_image(DATA / "tumor.csv")
    labels = healthy.predict(tumor)
    assert labels.shape == (571, 512)
    distances = np.abs(tumor.pixels[..., None] - healthy.centers[:, 0])
    np.testing.assert_array_equal(labels, distances.argmin(axis=-1))


@pytest.mark.parametrize("connectivity", [1, 2])
def test_the_tumour_is_the_largest_object_of_the_brightest_cluster(healthy, connectivity):
    labels = healthy.predict(DATA / "tumor.csv")
    found = fastseg.objects(labels, [4], connectivity=connectivity, background=None)
    assert 9_000 <= found.pixels[0] <= 11_500
    assert found.pixels[0] > 2 * found.pixels[1]
    # In the left half; the skull's part goes around to the right.
    assert found.boxes[0, 1, 1] < labels.shape[1] / 2 < found.boxes[1, 1, 1]
    cleaned = fastseg.remove_specks(labels, 100, background=None)
    assert fastseg.objects(cleaned, background=None).pixels.min() >= 100


def test_the_published_hierarchical_clusters_of_the_flower():
    """As published; ties taken otherwise give 1676, 230 and 594 pixels."""
    result = fastseg.segment(DATA / "flower.csv", 3, method="ward")
    assert result.counts.tolist() == [1634, 272, 594]
    assert np.round(result.centers[:, 0], 8).tolist() == [0.08574315, 0.50826255, 0.93147713]
    labels = hierarchy.fcluster(result.linkage, 3, "maxclust")
    sizes = np.bincount(labels, result.tree.counts)
    assert sorted(sizes[1:].tolist()) == [272, 594, 1634]


def test_the_hierarchical_clusters_of_the_healthy_brain_in_a_moment():
    """R gives up here: "cannot allocate vector of size 498.0 Gb"."""
    fastseg.segment(DATA / "flower.csv", 3, method="ward")  # compiles
    result = fastseg.segment(DATA / "healthy.csv", 5, method="ward")
    assert result.seconds["fit"] < 0.1
    assert result.tree.counts.sum() == result.counts.sum() == 365_636
    np.testing.assert_allclose(result.inertia, result.tree.inertia(5), rtol=1e-12)


def test_the_optimum_beats_what_was_published():
    result = fastseg.segment(DATA / "healthy.csv", 5, method="optimal")
    assert result.inertia < 302.725
    assert result.inertia < fastseg.segment(DATA / "healthy.csv", 5, method="ward").inertia


def test_the_scree_of_the_healthy_brain():
    """Never above scikit-learn, and the elbow where the course reads it."""
    path = DATA / "healthy.csv"
    found = fastseg.scan(path, range(2, 11))
    assert found.elbow in (4, 5)
    values, counts = np.unique(read_image(path).pixels, return_counts=True)
    for k, inertia in zip(found.n_clusters, found.inertia, strict=True):
        for seed in range(3):
            theirs = KMeans(k, n_init=1, random_state=seed)
            theirs.fit(values[:, None], sample_weight=counts)
            assert inertia <= theirs.inertia_ * (1 + 1e-12)
