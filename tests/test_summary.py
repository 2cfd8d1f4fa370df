"""Distinct values and counts: exact, and the same for any split and order of the pixels."""

import numpy as np
import pytest
from cuda_backends import CUDA
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseg.kernels.cpu import CpuBackend, bin_counter, color_counter, row_counter
from fastseg.summary import Summary, distinct_up_to, summarize

# One byte to many words a pixel; bins, colours and rows.
KINDS = [
    ("uint8", 1),
    ("uint8", 2),
    ("uint8", 3),
    ("uint8", 4),
    ("uint8", 9),
    ("uint16", 1),
    ("uint16", 3),
    ("int16", 1),
    ("int16", 2),
    ("float32", 1),
    ("float32", 3),
    ("float64", 1),
    ("float64", 5),
]


def pixels_of(dtype, d, n=400, seed=0):
    low = 0 if dtype.startswith("u") else -3
    return np.random.default_rng(seed).integers(low, 4, (n, d)).astype(dtype)


def count(pixels, pieces=1, n_threads=2, backend=None):
    backend = backend or CpuBackend()
    counter = backend.counter(pixels.dtype, pixels.shape[1], n_threads=n_threads)
    for piece in np.array_split(pixels, pieces):
        counter.add(np.ascontiguousarray(piece))
    return Summary(*counter.distinct(), counter)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 63, 1001, 5000])
@pytest.mark.parametrize(("dtype", "d"), KINDS)
def test_a_summary_is_what_unique_finds(dtype, d, n):
    pixels = pixels_of(dtype, d, n)
    values, inverse, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    for pieces, n_threads in [(1, 1), (1, 3), (3, 2)]:
        found = count(pixels, pieces, n_threads)
        assert found.values.dtype == pixels.dtype
        np.testing.assert_array_equal(found.values, values)
        np.testing.assert_array_equal(found.counts, counts)
        for label_type in (np.uint8, np.uint16, np.int32):
            table = (np.arange(len(values)) % 251 + 1).astype(label_type)
            labels = np.zeros(n, label_type)
            found.counter.look_up(pixels, table, labels)
            np.testing.assert_array_equal(labels, table[inverse.ravel()])


@pytest.mark.parametrize("backend", CUDA)
@pytest.mark.parametrize("n", [1, 15, 1001, 5000])
@pytest.mark.parametrize(("dtype", "d"), [kind for kind in KINDS if kind[0] != "float64"])
def test_a_summary_on_a_device_is_that_of_the_cpu(backend, dtype, d, n):
    pixels = pixels_of(dtype, d, n)
    pixels[n // 3 : 2 * n // 3] = pixels[0]  # flat areas are counted at once
    values, inverse, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    for pieces in (1, 3):
        found = count(pixels, pieces, backend=backend)
        assert found.values.dtype == pixels.dtype
        np.testing.assert_array_equal(found.values, values)
        np.testing.assert_array_equal(found.counts, counts)
        for label_type in (np.uint8, np.uint16, np.int32):
            table = (np.arange(len(values)) % 251 + 1).astype(label_type)
            labels = np.zeros(n, label_type)
            found.counter.look_up(pixels, table, labels)
            np.testing.assert_array_equal(labels, table[inverse.ravel()])


@given(st.sampled_from(KINDS), st.integers(1, 399), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_summaries_of_any_split_in_any_order_merge_into_the_whole(kind, cut, seed):
    pixels = pixels_of(*kind, seed=seed)
    whole = count(pixels)
    shuffled = np.random.default_rng(seed).permutation(pixels)
    a, b = count(shuffled[:cut]), count(shuffled[cut:])
    for merged in (a.merge(b), b.merge(a)):
        np.testing.assert_array_equal(merged.values, whole.values)
        np.testing.assert_array_equal(merged.counts, whole.counts)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("dtype", "d"), [("uint8", 1), ("uint8", 3), ("uint16", 2)])
def test_many_chunks_on_any_number_of_threads(dtype, d, n_threads, monkeypatch):
    for module in (bin_counter, color_counter, row_counter):
        monkeypatch.setattr(module, "CHUNK", 1024)
    pixels = (np.random.default_rng(0).normal(60, 2, (50_007, d))).astype(dtype)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    found = count(pixels, n_threads=n_threads)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.counts, counts)


@pytest.mark.parametrize("n", [255, 256, 257, 512, 65_536, 300_000])
def test_bytes_of_the_colour_table_carry_over(n):
    """Every count is exact where its byte has just passed 255, and on either side."""
    pixels = np.repeat(np.array([[1, 2, 3], [255, 255, 255]], np.uint8), [n, 3], axis=0)
    for pieces in (1, 2, 7):
        found = count(pixels, pieces)
        np.testing.assert_array_equal(found.values, [[1, 2, 3], [255, 255, 255]])
        assert found.counts.tolist() == [n, 3]


def test_colours_of_many_chunks_are_sorted_before_they_grow_many(monkeypatch):
    monkeypatch.setattr(color_counter, "_MOST_WAITING", 1000)
    rng = np.random.default_rng(2)
    # Some so often that their bytes carry over, and chunks that are no whole tiles.
    pixels = rng.integers(0, 3, (600_007, 3), np.uint8)
    pixels *= rng.integers(1, 80, (600_007, 1), np.uint8)
    counter = CpuBackend().counter(pixels.dtype, 3, n_threads=2)
    for start in range(0, len(pixels), 1_003):
        counter.add(np.ascontiguousarray(pixels[start : start + 1_003]))
    assert counter.singles.n_waiting + counter.carries.n_waiting < 3000
    values, counts = counter.distinct()
    expected, times = np.unique(pixels, axis=0, return_counts=True)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(counts, times)
    # One table for several chunks, and then another.
    places = np.arange(len(values), dtype=np.uint16)
    for table, back in ((places, values), (places[::-1].copy(), values[::-1])):
        for part in (pixels[:70_001], pixels[70_001:200_000]):
            labels = np.empty(len(part), np.uint16)
            counter.look_up(part, table, labels)
            np.testing.assert_array_equal(back[labels], part)


@pytest.mark.parametrize("offset", range(5))
def test_colours_at_any_address(offset):
    memory = np.random.default_rng(0).integers(0, 5, 3 * 1000 + 8).astype(np.uint8)
    pixels = memory[offset : offset + 3000].reshape(-1, 3)
    found = count(pixels)
    np.testing.assert_array_equal(found.values, np.unique(pixels, axis=0))
    labels = np.zeros(len(pixels), np.uint8)
    table = np.arange(len(found.values), dtype=np.uint8)
    found.counter.look_up(pixels, table, labels)
    np.testing.assert_array_equal(found.values[labels], pixels)


def test_the_two_zeros_of_floats_are_one_value():
    pixels = np.array([[0.0, 1.0], [-0.0, 1.0], [-0.0, -1.0]])
    found = count(pixels)
    np.testing.assert_array_equal(found.values, [[0, -1], [0, 1]])
    assert found.counts.tolist() == [1, 2]
    labels = np.zeros(3, np.uint8)
    found.counter.look_up(pixels, np.array([7, 9], np.uint8), labels)
    assert labels.tolist() == [9, 9, 7]


def test_a_table_of_rows_grows():
    pixels = np.random.default_rng(0).permutation(np.arange(60_000, dtype=np.float64))
    pixels = np.concatenate([pixels, pixels])[:, None] * [1.0, -0.5]
    found = count(pixels)
    np.testing.assert_array_equal(found.values[:, 0], np.arange(60_000))
    assert set(found.counts) == {2}


class TestWhetherItPays:
    def test_few_distinct_values_always_do(self):
        assert summarize(np.arange(600.0).reshape(-1, 2), CpuBackend()) is not None

    @pytest.mark.parametrize(("share", "pays"), [(0.5, True), (0.8, False)])
    def test_rows_must_repeat(self, share, pays):
        n = 400_000
        pixels = (np.arange(n) % int(share * n)).astype(np.float64)
        pixels = np.random.default_rng(0).permutation(pixels)[:, None] * [1.0, 3.0]
        assert (summarize(pixels, CpuBackend()) is not None) == pays

    def test_no_more_rows_than_are_kept(self, monkeypatch):
        pixels = np.repeat(np.arange(2000.0), 9).reshape(-1, 1) * [1.0, 3.0]
        for limit, pays in [(2000, True), (1999, False)]:
            monkeypatch.setattr(row_counter, "MAX_ROWS", limit)
            assert (summarize(pixels, CpuBackend()) is not None) == pays

    def test_progress_is_told(self):
        ticks = []
        pixels = np.zeros((600_000, 2))
        summarize(pixels, CpuBackend(), tick=lambda done, total: ticks.append((done, total)))
        assert ticks == sorted(ticks)
        assert ticks[-1] == (600_000, 600_000)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_distinct_pixels_are_counted_up_to_a_limit(limit):
    pixels = np.repeat(np.arange(14.0).reshape(7, 2), 200, axis=0)
    assert distinct_up_to(pixels, limit) == min(limit, 7)
