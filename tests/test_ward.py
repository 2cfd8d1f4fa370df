"""Ward's tree: against SciPy on every pixel, and in rational arithmetic where there are ties."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.cluster import hierarchy

import fastseg
from fastseg.color import luminance_weights
from fastseg.ward import MAX_VALUES, distinct_values, ward_tree

RNG = np.random.default_rng(5)
TIED = RNG.integers(0, 40, (30, 20)).astype(np.uint8)  # neighbours in equal steps: ties abound
COLORS = RNG.integers(0, 256, (24, 25, 3)).astype(np.uint8)


def merges_in_rationals(values, counts):
    """The linkage by definition: of all pairs the cheapest, of tied ones the brightest."""
    weights = [Fraction(w) for w in luminance_weights(values.shape[1]).tolist()]
    clusters = {
        i: ([Fraction(int(x)) * int(n) for x in value], int(n))
        for i, (value, n) in enumerate(zip(values, counts, strict=True))
    }

    def rank(pair):
        (s, v), (t, w) = (clusters[i] for i in pair)
        cost = sum((a * w - b * v) ** 2 for a, b in zip(s, t, strict=True)) / (v * w * (v + w))
        means = [[x / n for x in sums] for sums, n in ((s, v), (t, w))]
        light = [(sum(x * y for x, y in zip(m, weights, strict=True)), m) for m in means]
        return -cost, max(light), min(light)

    merged, costs = [], []
    while len(clusters) > 1:
        i, j = best = max(combinations(sorted(clusters), 2), key=rank)
        costs.append(-rank(best)[0])
        (s, v), (t, w) = clusters.pop(i), clusters.pop(j)
        clusters[len(values) + len(merged)] = [a + b for a, b in zip(s, t, strict=True)], v + w
        merged.append([i, j])
    return np.array(merged), np.array([float(2 * cost) ** 0.5 for cost in costs])


def check_linkage(tree):
    assert hierarchy.is_valid_linkage(tree.linkage, throw=True)
    assert (np.diff(tree.linkage[:, 2]) >= 0).all()
    assert hierarchy.to_tree(tree.linkage).count == len(tree.values)  # reads column 3


@st.composite
def weighted_values(draw, n_channels):
    m = draw(st.integers(2, 24))
    values = draw(
        hnp.arrays(np.float64, (m, n_channels), elements=st.integers(-(10**6), 10**6), unique=False)
    )
    values = np.unique(values, axis=0)
    counts = draw(hnp.arrays(np.int64, len(values), elements=st.integers(1, 6)))
    return values, counts


def jittered(values, counts, seed):
    """Values moved a little, so that there are no ties, of which SciPy takes another one."""
    moved = values + np.random.default_rng(seed).random(values.shape) * 1000
    order = np.lexsort(moved.T[::-1])
    return moved[order], counts[order]


@pytest.mark.parametrize("n_channels", [1, 2, 3, 5])
def test_heights_are_those_of_scipy_on_every_pixel(n_channels):
    @settings(deadline=None, max_examples=40)
    @given(weighted_values(n_channels), st.integers(0, 99))
    def check(given_, seed):
        values, counts = jittered(*given_, seed)
        if len(values) < 2:
            return
        tree = ward_tree(values, counts)
        check_linkage(tree)
        pixels = np.repeat(values, counts, axis=0)
        theirs = hierarchy.linkage(pixels, "ward")
        n_repeats = len(pixels) - len(values)
        largest = theirs[-1, 2]
        np.testing.assert_allclose(theirs[:n_repeats, 2], 0, atol=1e-9 * largest)
        np.testing.assert_allclose(tree.linkage[:, 2], theirs[n_repeats:, 2], rtol=1e-6)
        for k in range(1, len(values) + 1):
            ours = np.repeat(tree.cut(k), counts)
            cut = hierarchy.fcluster(theirs, k, "maxclust")
            assert len({*zip(ours.tolist(), cut.tolist(), strict=True)}) == k

    check()


@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("largest_count", [1, 3, 10**9])
def test_ties_go_to_the_brighter_pair(n_channels, largest_count):
    n_ties = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        largest = {1: 50, 2: 6, 3: 4}[n_channels]
        values = np.unique(rng.integers(0, largest, (24, n_channels)), axis=0)
        counts = rng.choice([1, largest_count], len(values))
        tree = ward_tree(values, counts)
        merged, heights = merges_in_rationals(values, counts)
        np.testing.assert_array_equal(tree.linkage[:, :2], merged)
        np.testing.assert_allclose(tree.linkage[:, 2], heights, rtol=1e-14)
        n_ties += len(heights) - len(np.unique(np.round(heights, 9)))
    assert n_ties > 10


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x / 255,
        lambda x: (x / 255).astype(np.float32),
        lambda x: x.astype(np.uint16) * 257 / 65535,
        lambda x: x * (1 / 255),
        lambda x: x * np.float32(1 / 255),
        lambda x: 0.0137 * x - 3.3,
        lambda x: (0.0137 * x + 40).astype(np.float32),
        lambda x: np.sqrt(2) * x,
        lambda x: x / 1000,
        lambda x: (x / 1000).astype(np.float32),
        lambda x: np.array([f"{v / 7:.9f}" for v in (7 * x.astype(int)).ravel()], float),
        lambda x: x.astype(np.int16) - 300,
    ],
)
def test_floats_that_stand_for_whole_numbers_have_their_ties(convert):
    values, counts = np.unique(TIED, return_counts=True)
    whole = ward_tree(values[:, None], counts)
    converted, _ = np.unique(convert(TIED), return_counts=True)
    tree = ward_tree(converted[:, None], counts)
    np.testing.assert_array_equal(tree.linkage[:, [0, 1, 3]], whole.linkage[:, [0, 1, 3]])


def test_cuts_are_nested_and_their_inertia_is_that_of_the_heights():
    values, counts = np.unique(COLORS.reshape(-1, 3), axis=0, return_counts=True)
    tree = ward_tree(values, counts)
    finer = tree.cut(40)
    for k in range(39, 0, -1):
        labels = tree.cut(k)
        assert sorted(set(labels.tolist())) == list(range(k))
        assert len({*zip(finer.tolist(), labels.tolist(), strict=True)}) == k + 1
        finer = labels
        sums = [np.bincount(labels, counts * channel) for channel in values.T]
        centers = np.array(sums).T / np.bincount(labels, counts)[:, None]
        inertia = (counts[:, None] * (values - centers[labels]) ** 2).sum()
        np.testing.assert_allclose(tree.inertia(k), inertia, rtol=1e-12)
    for refused in (lambda: tree.cut(0), lambda: tree.inertia(0), lambda: tree.inertia([1, 601])):
        with pytest.raises(ValueError, match=r"n_clusters must be in 1\.\.\d+, the leaves, got"):
            refused()


def test_one_value_is_a_tree_without_merges():
    tree = ward_tree(np.array([[7]]), np.array([4]))
    assert tree.linkage.shape == (0, 4)
    assert tree.cut(1).tolist() == [0]
    result = fastseg.segment(np.full((3, 4), 7), 1, method="ward")
    assert (result.counts.tolist(), result.inertia) == ([12], 0)


@pytest.mark.parametrize("image", [TIED, COLORS, TIED / 7, COLORS / np.float32(3)])
def test_segment_cuts_the_tree_of_all_pixels(image):
    d = 1 if image.ndim == 2 else 3
    pixels = image.reshape(-1, d).astype(np.float64)
    result = fastseg.segment(image, 6, method="ward")
    assert result.method == "ward"
    assert result.linkage is result.tree.linkage
    assert result.tree.counts.sum() == len(pixels) == result.counts.sum()
    np.testing.assert_array_equal(np.bincount(result.labels.ravel()), result.counts)
    for label, center in enumerate(result.centers):
        np.testing.assert_allclose(center, pixels[result.labels.ravel() == label].mean(axis=0))
    luminance = result.centers @ luminance_weights(d)
    assert (np.diff(luminance) > 0).all()
    spread = ((pixels - result.centers[result.labels.ravel()]) ** 2).sum()
    np.testing.assert_allclose(result.inertia, spread, rtol=1e-12)
    # The tree is that of the thirds which float32 rounds.
    np.testing.assert_allclose(result.tree.inertia(6), spread, rtol=1e-8)


@pytest.mark.parametrize("image", [TIED, COLORS])
def test_neither_order_nor_repetition_changes_the_clusters(image):
    result = fastseg.segment(image, 5, method="ward")
    flat = image.reshape(-1, *image.shape[2:])
    order = RNG.permutation(len(flat))
    shuffled = fastseg.segment(flat[order].reshape(image.shape), 5, method="ward")
    np.testing.assert_array_equal(shuffled.labels.ravel(), result.labels.ravel()[order])
    np.testing.assert_array_equal(shuffled.linkage, result.linkage)
    twice = fastseg.segment(np.concatenate([image, image]), 5, method="ward")
    np.testing.assert_array_equal(twice.labels, np.concatenate([result.labels] * 2))
    np.testing.assert_allclose(twice.linkage[:, 2], result.linkage[:, 2] * 2**0.5, rtol=1e-14)


def test_pixels_that_hardly_repeat():
    for shape in [(60, 50), (40, 30, 4)]:
        image = np.random.default_rng(1).random(shape)
        image[0, :7] = image[1, :7]
        result = fastseg.segment(image, 4, method="ward")
        pixels = image.reshape(-1, result.n_channels)
        cut = hierarchy.fcluster(hierarchy.linkage(pixels, "ward"), 4, "maxclust")
        pairs = {*zip(result.labels.ravel().tolist(), cut.tolist(), strict=True)}
        assert len(pairs) == 4
        np.testing.assert_array_equal(result.labels[0, :7], result.labels[1, :7])


def test_left_out_pixels_and_color_spaces():
    mask = RNG.random(COLORS.shape[:2]) < 0.7
    result = fastseg.segment(COLORS, 3, method="ward", mask=mask, color_space="lab")
    assert (result.labels[~mask] == 0).all()
    assert result.tree.counts.sum() == mask.sum() == result.counts.sum()
    for label in (1, 2, 3):
        np.testing.assert_allclose(
            result.centers[label - 1], COLORS[result.labels == label].mean(axis=0)
        )
    np.testing.assert_allclose(result.inertia, result.tree.inertia(3))


def test_a_saved_model_predicts_by_the_nearest_centre(tmp_path):
    result = fastseg.segment(COLORS, 4, method="ward")
    result.save(tmp_path / "model.json")
    labels = fastseg.load_model(tmp_path / "model.json").predict(COLORS)
    distances = ((COLORS[..., None, :] - result.centers) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(labels, distances.argmin(axis=-1))
    assert (labels != result.labels).any()


def test_prototypes_stand_for_more_colours():
    exact = fastseg.segment(COLORS, 4, method="ward")
    same = fastseg.segment(COLORS, 4, method="ward", prototypes=600)
    np.testing.assert_array_equal(same.labels, exact.labels)
    for image in (COLORS, np.random.default_rng(2).random((50, 60, 3))):
        result = fastseg.segment(image, 4, method="ward", prototypes=64, random_state=0)
        assert len(result.tree.values) == 64
        assert result.tree.counts.sum() == image[..., 0].size
        pixels = image.reshape(-1, 3)
        spread = ((pixels - result.centers[result.labels.ravel()]) ** 2).sum()
        np.testing.assert_allclose(result.inertia, spread, rtol=1e-12)
        # Prototypes and the way to them make up the rest.
        assert 0 < result.inertia - result.tree.inertia(4) < 0.2 * result.inertia


def test_prototypes_of_one_channel():
    image = np.random.default_rng(2).random((50, 60))
    result = fastseg.segment(image, 4, method="ward", prototypes=200, random_state=0)
    check_linkage(result.tree)
    assert (np.diff(result.tree.values[:, 0]) > 0).all()
    exact = fastseg.segment(image, 4, method="ward")
    assert result.inertia < 1.5 * exact.inertia
    ends = [(image[result.labels == i].min(), image[result.labels == i].max()) for i in range(4)]
    assert all(high < low for (_, high), (low, _) in pairwise(ends))


def test_what_cannot_be_done_is_refused():
    def refused(kind, words, image=COLORS, **how):
        with pytest.raises(kind, match=words):
            fastseg.segment(image, **({"n_clusters": 3, "method": "ward"} | how))

    refused(ValueError, "n_init=3 has no meaning with method='ward', which finds", n_init=3)
    refused(ValueError, "tol=0 has no meaning", tol=0)
    refused(ValueError, "init='random' has no meaning", init="random")
    refused(ValueError, "more than the image's 2 distinct", np.eye(4))
    refused(ValueError, "whether|to be chosen", n_clusters="auto")
    refused(ValueError, "prototypes=2 is less than n_clusters=3", prototypes=2)
    refused(ValueError, "prototypes=20001 is more than the 20000", prototypes=20_001)
    refused(TypeError, "prototypes must be a whole number", prototypes=2.5)
    refused(ValueError, "prototypes=9 has no meaning with method='lloyd'", method="lloyd",
            prototypes=9)  # fmt: skip
    with pytest.raises(AttributeError, match="no linkage with method='lloyd'"):
        _ = fastseg.segment(COLORS, 3).linkage


def test_too_many_colours_are_refused_by_number():
    m = MAX_VALUES + 1
    counted = np.arange(2 * m)[:, None] % m * np.array([1, 3, 7])
    words = "between 20,001 distinct colours, 200,010,000 of them.*--prototypes 1024"
    with pytest.raises(ValueError, match=words):
        fastseg.segment(counted.reshape(2, m, 3).astype(np.float64), 3, method="ward")
    hardly_repeating = np.random.default_rng(0).random((300, 300, 2))
    with pytest.raises(ValueError, match="at least 20,001 distinct colours"):
        fastseg.segment(hardly_repeating, 3, method="ward")
    result = fastseg.segment(hardly_repeating, 3, method="ward", prototypes=50, random_state=0)
    assert result.tree.counts.sum() == 90_000


def test_values_without_counts_are_counted():
    values = np.array([[3.0, 1.0], [0.5, 2.0], [3.0, 1.0]])
    leaves, counts, leaf_of = distinct_values(values, None)
    assert (leaves.tolist(), counts.tolist()) == ([[0.5, 2.0], [3.0, 1.0]], [1, 2])
    np.testing.assert_array_equal(leaves[leaf_of], values)


def test_the_callback_is_told_and_can_stop():
    told = []
    fastseg.segment(COLORS, 3, method="ward", callback=lambda *a: told.append(a[:3]))
    assert ("tree", 599, 599) in told or ("tree", 598, 598) in told
    with pytest.raises(fastseg.Stopped):
        fastseg.segment(TIED, 3, method="ward", callback=lambda stage, *_: stage == "tree")
