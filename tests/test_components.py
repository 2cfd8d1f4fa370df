"""Objects and specks, against scikit-image and a slow account of the rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label as skimage_label
from skimage.measure import regionprops

import fastseg

SHAPES = st.sampled_from([(6, 9), (1, 7), (4, 5, 6), (3, 1, 8)])


def random_labels(seed, shape, n=4, smooth=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n, shape).astype(np.uint8)
    return labels.repeat(2, axis=0).repeat(2, axis=1) if smooth else labels


@given(st.integers(0, 2**32 - 1), SHAPES, st.integers(1, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_objects_are_those_of_scikit_image(seed, shape, connectivity, with_background):
    labels = random_labels(seed, shape)
    connectivity = min(connectivity, labels.ndim)
    background = 0 if with_background else None
    found = fastseg.objects(labels, connectivity=connectivity, background=background)
    theirs = skimage_label(labels, background=-1, connectivity=connectivity)
    if with_background:
        theirs[labels == 0] = 0
    regions = list(regionprops(theirs))
    assert len(found) == len(regions) == len(np.unique(found.instances[found.instances > 0]))
    # The same partition, whatever the numbers.
    pairs = np.unique(np.stack([found.instances, theirs]).reshape(2, -1), axis=1)
    assert len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))
    other = dict(zip(*pairs, strict=True))
    by_number = {region.label: region for region in regions}
    for i, row in enumerate(found.as_dicts()):
        region = by_number[other[i + 1]]
        lower, upper = np.split(np.array(region.bbox), 2)
        assert row["pixels"] == region.area
        assert row["label"] == labels[tuple(region.coords[0])]
        np.testing.assert_array_equal(row["box"], np.stack([lower, upper], axis=1))
        np.testing.assert_allclose(row["centroid"], region.centroid, rtol=1e-5, atol=1e-5)
    assert (np.diff(found.pixels) <= 0).all()


@given(st.integers(0, 2**32 - 1), SHAPES)
@settings(max_examples=25, deadline=None)
def test_the_numbers_do_not_depend_on_the_order_in_memory(seed, shape):
    labels = random_labels(seed, shape)
    straight, turned = (fastseg.objects(x) for x in (labels, np.asfortranarray(labels)))
    np.testing.assert_array_equal(straight.pixels, turned.pixels)
    np.testing.assert_array_equal(straight.classes, turned.classes)
    np.testing.assert_array_equal(straight.boxes, turned.boxes)


LABELS = np.array(
    [
        [1, 1, 0, 2, 2],
        [1, 1, 0, 0, 2],
        [0, 0, 3, 0, 2],
        [2, 0, 0, 3, 0],
    ]
)


def test_chosen_classes_their_size_and_names():
    found = fastseg.objects(LABELS, ["WM", 3], names={1: "GM", 2: "WM"}, spacing=(0.5, 3))
    assert found.classes.tolist() == [2, 3, 2]
    assert found.pixels.tolist() == [4, 2, 1]
    assert found.sizes.tolist() == [6, 3, 1.5]
    assert found.boxes[0].tolist() == [[0, 3], [3, 5]]
    rows = list(found.as_dicts())
    assert [row["name"] for row in rows] == ["WM", None, "WM"]
    np.testing.assert_array_equal(found.instances > 0, LABELS > 1)
    faces = fastseg.objects(LABELS, [3], connectivity=1, min_size=2)
    assert len(faces) == 0
    assert not faces.instances.any()


def test_a_segmentation_knows_its_background_and_names():
    image = np.array([[0, 0, 9, 5], [9, 9, 0, 5]], np.uint8)
    whole = fastseg.segment(image, 2)
    assert fastseg.objects(whole).classes.tolist() == [1, 0]
    named = fastseg.segment(image, 2, nodata=0, names=["dim", "bright"])
    found = fastseg.objects(named, ["bright"])
    assert [row["name"] for row in found.as_dicts()] == ["bright"]
    assert found.pixels.tolist() == [3]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"classes": ["CSF"], "names": {1: "GM"}}, ValueError, "holds 'CSF', but .* are: GM"),
        ({"classes": [0]}, ValueError, "0, which is the background"),
        ({"classes": [1.5]}, TypeError, "labels or their names, got 1.5"),
        ({"connectivity": 3}, ValueError, "from 1 to 2 for labels of 2 axes, got 3"),
        ({"min_size": 0}, ValueError, "at least 1 pixel, got 0"),
        ({"min_size": 2.0}, TypeError, "whole number of pixels, got 2.0"),
        ({"spacing": (1, 2, 3)}, ValueError, "2 positive lengths"),
        ({"spacing": (1, 0)}, ValueError, "2 positive lengths"),
        ({"labels": LABELS * 0.5}, TypeError, "got dtype float64"),
        ({"labels": LABELS - 1}, ValueError, "got -1 to 2"),
        ({"labels": LABELS[None, None]}, ValueError, "2 or 3 axes"),
        ({"labels": LABELS[:0]}, ValueError, "labels are empty"),
    ],
)
def test_what_cannot_be_asked(given, error, words):
    given = {"labels": LABELS} | given
    with pytest.raises(error, match=words):
        fastseg.objects(**given)


# Specks


def slow(labels, min_size, background):
    """The rule, pixel by pixel."""
    chosen = np.ones(labels.shape, bool) if background is None else labels != background
    parts = skimage_label(labels.astype(int), background=-1)
    parts[~chosen] = 0
    size = np.bincount(parts.ravel())
    settled = {p: labels[parts == p][0] for p in np.unique(parts) if p and size[p] >= min_size}
    open_ = {int(p) for p in np.unique(parts) if p} - set(settled)
    while True:
        news = {}
        for part in open_:
            votes = np.zeros(256, int)
            for place in np.argwhere(parts == part):
                for axis in range(labels.ndim):
                    for step in (-1, 1):
                        beside = place.copy()
                        beside[axis] += step
                        if 0 <= beside[axis] < labels.shape[axis]:
                            other = parts[tuple(beside)]
                            if other in settled:
                                votes[settled[other]] += 1
            if votes.any():
                news[part] = votes.argmax()
        if not news:
            break
        settled |= news
        open_ -= set(news)
    cleaned = labels.copy()
    for part, label in settled.items():
        cleaned[parts == part] = label
    return cleaned


@given(st.integers(0, 2**32 - 1), SHAPES, st.integers(1, 6), st.booleans(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_specks_go_to_the_neighbours_they_share_most_faces_with(
    seed, shape, min_size, with_background, smooth
):
    labels = random_labels(seed, shape, 3, smooth)
    background = 0 if with_background else None
    before = labels.copy()
    cleaned = fastseg.remove_specks(labels, min_size, background=background)
    np.testing.assert_array_equal(labels, before)
    assert cleaned.dtype == labels.dtype
    np.testing.assert_array_equal(cleaned, slow(labels, min_size, background))
    turned = fastseg.remove_specks(np.asfortranarray(labels), min_size, background=background)
    np.testing.assert_array_equal(turned, cleaned)


@given(st.integers(0, 2**32 - 1), SHAPES, st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_no_speck_is_left_and_nothing_more_to_do(seed, shape, min_size):
    labels = random_labels(seed, shape, 3)
    cleaned = fastseg.remove_specks(labels, min_size, background=None)
    largest = fastseg.objects(labels, background=None).pixels[0]
    left = fastseg.objects(cleaned, background=None)
    if largest >= min_size:
        assert left.pixels.min() >= min_size
    else:
        np.testing.assert_array_equal(cleaned, labels)
    again = fastseg.remove_specks(cleaned, min_size, background=None)
    np.testing.assert_array_equal(again, cleaned)


def test_the_background_is_neither_filled_nor_taken():
    labels = np.zeros((5, 8), np.uint8)
    labels[1:4, 1:4] = 1
    labels[2, 2] = 2
    labels[2, 6] = 2
    cleaned = fastseg.remove_specks(labels, 3)
    assert cleaned[2, 2] == 1
    assert cleaned[2, 6] == 2
    np.testing.assert_array_equal(cleaned == 0, labels == 0)


def test_the_lowest_label_wins_a_tie():
    labels = np.array([[3, 3, 1, 2, 2]])
    assert fastseg.remove_specks(labels, 2).tolist() == [[3, 3, 2, 2, 2]]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_nothing_but_background_has_no_objects(dtype):
    labels = np.zeros((3, 4, 2), dtype)
    found = fastseg.objects(labels)
    assert len(found) == 0
    assert found.boxes.shape == (0, 3, 2)
    np.testing.assert_array_equal(found.instances, labels)
    np.testing.assert_array_equal(fastseg.remove_specks(labels, 9), labels)


def test_labels_that_are_no_clusters_are_refused():
    result = fastseg.segment(np.arange(60, dtype=np.uint8).reshape(6, 10), 3)
    with pytest.raises(
        ValueError, match="there is no label 7 to find objects of; they are from 0 to 2"
    ):
        fastseg.objects(result, [7])
    for classes in ("WM", 2):
        with pytest.raises(TypeError, match="must be a sequence"):
            fastseg.objects(result, classes)
    assert repr(fastseg.objects(result)) == "<3 objects in labels of (6, 10)>"
