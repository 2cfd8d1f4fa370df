"""Distinct values and counts: exact, and the same for any split and order of the pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseg import summary
from fastseg.summary import distinct_up_to, summarize

PACKED = [
    ("uint8", 1),
    ("uint8", 3),
    ("uint8", 4),
    ("uint8", 8),
    ("uint16", 1),
    ("uint16", 3),
    ("int16", 1),
    ("int16", 2),
    ("float32", 1),
    ("float64", 1),
]


def pixels_of(dtype, d, n=400, seed=0):
    low = 0 if dtype.startswith("u") else -3
    return np.random.default_rng(seed).integers(low, 4, (n, d)).astype(dtype)


@pytest.mark.parametrize(("dtype", "d"), PACKED)
def test_a_summary_is_what_unique_finds(dtype, d):
    pixels = pixels_of(dtype, d)
    found = summarize(pixels)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    assert found.values.dtype == pixels.dtype
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.counts, counts)


@given(st.sampled_from(PACKED), st.integers(1, 399), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_summaries_of_any_split_in_any_order_merge_into_the_whole(kind, cut, seed):
    pixels = pixels_of(*kind, seed=seed)
    whole = summarize(pixels)
    shuffled = np.random.default_rng(seed).permutation(pixels)
    a, b = summarize(shuffled[:cut]), summarize(shuffled[cut:])
    for merged in (a.merge(b), b.merge(a)):
        np.testing.assert_array_equal(merged.values, whole.values)
        np.testing.assert_array_equal(merged.counts, whole.counts)


def test_chunks_change_nothing(monkeypatch):
    pixels = pixels_of("uint8", 3, 1000)
    whole = summarize(pixels)
    monkeypatch.setattr(summary, "_CHUNK", 333)
    ticks = []
    parts = summarize(pixels, lambda done, total: ticks.append((done, total)))
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert ticks == [(333, 1000), (666, 1000), (999, 1000), (1000, 1000)]


def test_wide_pixels_and_mostly_distinct_ones_are_not_summarized(monkeypatch):
    assert summarize(pixels_of("uint8", 9)) is None
    assert summarize(pixels_of("float64", 2)) is None
    monkeypatch.setattr(summary, "_CHUNK", 100)
    assert summarize(np.arange(300.0)[:, None]) is None
    assert summarize(np.repeat(np.arange(100.0), 3)[:, None]) is not None


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_distinct_pixels_are_counted_up_to_a_limit(limit):
    pixels = np.repeat(np.arange(14.0).reshape(7, 2), 200, axis=0)
    assert distinct_up_to(pixels, limit) == min(limit, 7)
