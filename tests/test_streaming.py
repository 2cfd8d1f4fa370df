"""From file to file in pieces: the labels of the image in memory, to the last bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image as pillow

import fastseg
from fastseg import FileOptions, fit_files, predict_file, segment_file
from fastseg.dispatch import backend_named
from fastseg.io import chunked
from fastseg.io.chunked import Part
from fastseg.memory import MEBIBYTE, memory_budget
from fastseg.solver import _label_alike
from fastseg.streaming import options
from fastseg.streaming.counting import Sample, StreamedPoints

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(3)
# A picture of few hundred colours, whose sides are no multiples of anything.
SMALL = RNG.normal([90, 120, 150], 35, (211, 307, 3)).clip(0, 255).astype(np.uint8) // 16 * 16
GREY = RNG.normal(20_000, 9_000, (211, 307)).clip(0, 65535).astype(np.uint16)
# More of them than are always counted.
FLOATS = (RNG.normal(0, 1, (311, 307, 3)) + RNG.integers(0, 4, (311, 307, 1)) * 5).astype("f4")
ANEW = FileOptions(overwrite=True)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", SMALL, tile=(48, 64), compression="zlib", photometric="rgb")
    np.save("grey.npy", GREY)
    np.save("floats.npy", FLOATS)
    return tmp_path


@pytest.fixture(params=[3_000, 40_000, 2**23])
def region_bytes(request, monkeypatch):
    """Regions of other sizes, which must not matter."""
    monkeypatch.setattr(chunked.cut, "__defaults__", (request.param,))
    return request.param


def stored(path):
    if str(path).endswith(".npy"):
        return np.load(path)
    with pillow.open(path) as picture:
        return np.array(picture)


def assert_same(result, expected, output):
    np.testing.assert_array_equal(stored(output), expected.labels)
    assert result.centers.tobytes() == expected.centers.tobytes()
    assert result.counts.tolist() == expected.counts.tolist()
    assert (result.inertia, result.n_iter) == (expected.inertia, expected.n_iter)
    assert (result.start_label, result.n_left_out) == (expected.start_label, expected.n_left_out)


# The same as in memory


@pytest.mark.parametrize("output", ["b.tif", "b.npy", "b.png"])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_colours(here, region_bytes, output, n_threads):
    result = segment_file("a.tif", output, 5, random_state=0, n_threads=n_threads)
    assert_same(result, fastseg.segment(SMALL, 5, random_state=0), output)
    assert (result.n_passes, result.skipped, result.n_sampled) == (2, {}, None)


def test_greys_of_16_bits_by_the_optimum(here, region_bytes):
    result = segment_file("grey.npy", "b.tif", 4)
    assert result.method == "optimal"
    assert_same(result, fastseg.segment(GREY, 4), "b.tif")


@pytest.mark.parametrize("space", ["lab", "linear"])
def test_colour_spaces(here, region_bytes, space):
    result = segment_file("a.tif", "b.npy", 4, color_space=space, random_state=0)
    assert_same(result, fastseg.segment(SMALL, 4, color_space=space, random_state=0), "b.npy")


@pytest.mark.parametrize(
    "options",
    [
        {"standardize": True},
        {"method": "ward"},
        {"n_clusters": "auto"},
        {"names": list("abcd")},
        {"init": SMALL[0, :4].astype(float)},
        {"start_label": 1},
    ],
)
def test_ways_to_cluster(here, options):
    options = {"n_clusters": 4, "random_state": 0} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
        expected = fastseg.segment(SMALL, **options)
        result = segment_file("a.tif", "b.npy", **options)
    assert_same(result, expected, "b.npy")
    assert result.names == expected.names
    assert result.chosen_k_reason == expected.chosen_k_reason


def test_mask_and_nodata(here, region_bytes):
    mask = (RNG.random(SMALL.shape[:2]) > 0.3).astype(np.uint8)
    pillow.fromarray(mask * 255).save("mask.png")
    result = segment_file("a.tif", "b.npy", 4, mask="mask.png", nodata=96, random_state=0)
    expected = fastseg.segment(SMALL, 4, mask=mask, nodata=96, random_state=0)
    assert expected.n_left_out > 1000
    assert_same(result, expected, "b.npy")


def test_a_mask_whose_last_axis_is_short(here):
    mask = np.random.default_rng(0).random((6, 10, 14)) > 0.5
    np.save("volume.npy", SMALL.reshape(-1, 3)[: mask.size].reshape(6, 10, 14, 3))
    np.save("mask.npy", mask)
    result = segment_file("volume.npy", "b.npy", 3, mask="mask.npy", random_state=0)
    expected = fastseg.segment("volume.npy", 3, mask="mask.npy", random_state=0)
    assert_same(result, expected, "b.npy")
    assert result.n_left_out == (~mask).sum()


def test_alpha(here, region_bytes):
    alpha = (RNG.random(SMALL.shape[:2]) > 0.3).astype(np.uint8) * 255
    tifffile.imwrite(
        "alpha.tif", np.dstack([SMALL, alpha]), tile=(32, 32), photometric="rgb",
        extrasamples=["unassalpha"],
    )  # fmt: skip
    result = segment_file("alpha.tif", "b.tif", 3, random_state=0)
    assert_same(result, fastseg.segment("alpha.tif", 3, random_state=0), "b.tif")
    with pillow.open("b.tif") as picture:
        assert (np.array(picture) == 0).sum() == (alpha == 0).sum()


def test_foreground(here):
    result = segment_file("grey.npy", "b.npy", 3, foreground="auto")
    expected = fastseg.segment(GREY, 3, foreground="auto")
    assert_same(result, expected, "b.npy")
    assert result.foreground == expected.foreground


def test_scaled_volumes(here):
    nibabel = pytest.importorskip("nibabel")
    volume = nibabel.Nifti1Image(GREY.reshape(211, 307, 1).repeat(3, 2).astype("i2"), np.eye(4))
    volume.header.set_slope_inter(0.5, -100)
    nibabel.save(volume, "a.nii")
    result = segment_file("a.nii", "b.nii", 3)
    expected = fastseg.segment("a.nii", 3)
    labels = np.asarray(nibabel.load("b.nii").dataobj)
    np.testing.assert_array_equal(labels, expected.labels)
    assert result.centers.tobytes() == expected.centers.tobytes()


def test_floats_that_repeat(here, region_bytes):
    few = np.round(FLOATS)
    few[5, 7:30, 1] = np.nan
    np.save("few.npy", few)
    result = segment_file("few.npy", "b.npy", 4, random_state=0)
    assert_same(result, fastseg.segment(few, 4, random_state=0), "b.npy")
    assert result.n_left_out == 23


# Floats that do not repeat


def test_floats_are_clustered_in_passes(here):
    start = FLOATS[[0, 50, 100, 150], 7].astype(float)
    result = segment_file("floats.npy", "b.npy", 4, init=start)
    expected = fastseg.segment(FLOATS, 4, init=start)
    np.testing.assert_array_equal(stored("b.npy"), expected.labels)
    np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)
    np.testing.assert_allclose(result.inertia, expected.inertia, rtol=1e-12)
    assert result.counts.tolist() == expected.counts.tolist()
    # One to count, one for the start and one for each iteration, one to label.
    assert result.n_passes == 1 + (1 + result.n_iter) + 1


def test_passes_do_not_depend_on_threads_or_memory(here):
    results = [
        segment_file(
            "floats.npy", "b.npy", 4, random_state=0, n_threads=n_threads,
            options=FileOptions(memory=memory, overwrite=True),
        )
        for n_threads, memory in ((1, "512MiB"), (3, "2GiB"))
    ]  # fmt: skip
    assert results[0].centers.tobytes() == results[1].centers.tobytes()
    assert results[0].inertia == results[1].inertia


def test_floats_in_other_spaces(here):
    light = FLOATS - FLOATS.min()
    np.save("light.npy", light / light.max())
    lab = segment_file("light.npy", "b.npy", 3, color_space="lab", random_state=0)
    labels = stored("b.npy")
    means = [np.load("light.npy")[labels == k].mean(axis=0) for k in range(3)]
    np.testing.assert_allclose(lab.centers, means, rtol=1e-4)
    result = segment_file("floats.npy", "b.npy", 4, standardize=True, random_state=0, options=ANEW)
    spread = np.stack([FLOATS.mean((0, 1), np.float64), FLOATS.std((0, 1), np.float64)], axis=1)
    np.testing.assert_allclose(result.moments, spread, rtol=1e-6)


def test_an_empty_cluster_takes_the_farthest_pixel_of_all_regions(here, monkeypatch):
    monkeypatch.setattr(chunked.cut, "__defaults__", (40_000,))
    start = np.array([[0, 0, 0], [5, 5, 5], [1e3, 1e3, 1e3]], float)
    result = segment_file("floats.npy", "b.npy", 3, init=start)
    expected = fastseg.segment(FLOATS, 3, init=start)
    np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)


def test_labels_of_two_tables_are_compared_region_by_region():
    def part(values):
        return backend_named("cpu").put(np.array(values, np.float32)[:, None], n_threads=1)

    class InParts(StreamedPoints):
        n_points, n_features = 6, 1

        def __init__(self): ...

        def parts(self):
            yield part([0, 1, 9])
            yield part([2, 8, 7])
            raise AssertionError("read on though the answer was known")

    one, same, other = (np.array(c, float)[:, None] for c in ([0, 9], [1, 8], [0, 15]))
    with pytest.raises(AssertionError, match="read on"):
        _label_alike(InParts(), one, same)
    assert not _label_alike(InParts(), one, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "optimal"}, "use method='lloyd', or a sample"),
        ({"method": "ward"}, "use method='lloyd', or a sample"),
        ({"foreground": "auto"}, "give a mask instead"),
    ],
)
def test_what_needs_the_distinct_values(here, monkeypatch, options, words):
    monkeypatch.setattr("fastseg.kernels.cpu.row_counter._FEW_ROWS", 100)
    np.save("one.npy", FLOATS[..., 0])
    with pytest.raises(ValueError, match=words):
        segment_file("one.npy", "b.npy", 3, **options)


# Samples


def test_a_sample_is_fitted_and_all_is_labelled(here, region_bytes):
    result = segment_file("floats.npy", "b.npy", 4, sample=5000, random_state=0)
    assert (result.n_passes, result.n_sampled) == (2, 5000)
    away = ((FLOATS[:, :, None].astype(float) - result.centers) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(stored("b.npy"), away.argmin(axis=-1))
    assert result.counts.tolist() == np.bincount(stored("b.npy").ravel()).tolist()


def test_a_sample_of_all_pixels_is_the_image(here):
    result = segment_file("a.tif", "b.npy", 4, sample=10**7, random_state=0)
    assert result.n_sampled == SMALL[..., 0].size
    init = SMALL[[0, 9, 99, 199], 0].astype(float)
    result = segment_file("a.tif", "c.npy", 4, sample=10**7, init=init)
    assert_same(result, fastseg.segment(SMALL, 4, init=init), "c.npy")


def test_every_pixel_is_as_likely_to_be_in_a_sample():
    hits = np.zeros(60)
    for seed in range(4000):
        sample = Sample(6, np.random.default_rng(seed))
        for start, stop in ((0, 7), (7, 8), (8, 40), (40, 60)):
            sample.add(np.arange(start, stop)[:, None])
        drawn = sample.values()[:, 0]
        assert len(set(drawn)) == 6
        hits[drawn] += 1
    # 400 each; the chance of 6 deviations is that of a few in a thousand million.
    assert np.abs(hits - 400).max() < 6 * np.sqrt(400 * 0.9)


# Several files, and models


def test_many_files_are_fitted_as_one(here, region_bytes):
    parts = [SMALL[:100], SMALL[100:, :200], SMALL[100:, 200:]]
    for name, part in zip("xyz", parts, strict=True):
        tifffile.imwrite(f"{name}.tif", part, tile=(32, 32), photometric="rgb")
    model = fit_files(["x.tif", "y.tif", "z.tif"], 4, random_state=0)
    expected = fastseg.segment(SMALL, 4, random_state=0)
    assert model.centers.tobytes() == expected.centers.tobytes()
    assert model.counts.tolist() == expected.counts.tolist()
    assert model.inertia == expected.inertia
    model.save("m.json")
    assert fastseg.load_model("m.json").profile is not None
    for name, part in zip("xyz", parts, strict=True):
        predict_file(model, f"{name}.tif", f"{name}.npy")
        np.testing.assert_array_equal(np.load(f"{name}.npy"), expected.predict(part))


def test_of_many_files_few_are_open_at_once(here, monkeypatch):
    is_open, most = set(), []

    def counted(path, part=Part(), *, max_pixels=None, as_ever=options.open_image):  # noqa: B008
        image = as_ever(path, part, max_pixels=max_pixels)
        close = image.close
        image.close = lambda: (is_open.discard(path), close())
        is_open.add(path)
        most.append(len(is_open))
        return image

    monkeypatch.setattr(options, "open_image", counted)
    for number in range(9):
        np.save(f"{number}.npy", SMALL[20 * number :][:20])
        np.save(f"m{number}.npy", SMALL[20 * number :][:20, :, 0] > 90)
    names = [f"{number}.npy" for number in range(9)]
    model = fit_files(names, 3, masks=[f"m{name}" for name in names], random_state=0, n_threads=1)
    expected = fastseg.segment(SMALL[:180], 3, mask=SMALL[:180, :, 0] > 90, random_state=0)
    assert model.centers.tobytes() == expected.centers.tobytes()
    assert not is_open
    # Images and masks: the one before is let go when the next is there, and two are read ahead.
    assert max(most) <= 8


def test_files_of_other_types_are_not_fitted_together(here):
    with pytest.raises(ValueError, match=r"grey\.npy: has 1 channels of uint16, but a\.tif has 3"):
        fit_files(["a.tif", "grey.npy"], 3)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("a.tif", {}),
        ("a.tif", {"match": "zscore"}),
        ("a.tif", {"nodata": 96}),
        ("grey.npy", {"match": "histogram", "foreground": "auto"}),
        ("floats.npy", {}),
    ],
)
def test_predict_gives_what_the_model_gives(here, region_bytes, file, options):
    image = SMALL if file == "a.tif" else np.load(file)
    model = fastseg.segment(image[:80], 4, random_state=0, keep_profile=True)
    found = predict_file(model, file, "b.npy", **options)
    expected = model.label(image, **options)
    np.testing.assert_array_equal(np.load("b.npy"), expected.labels)
    assert found.start_label == expected.start_label
    assert found.foreground == expected.foreground
    assert found.counts.tolist() == [
        (expected.labels == k + expected.start_label).sum() for k in range(4)
    ]


def test_nan_that_comes_late_still_moves_the_labels(here, region_bytes):
    late = FLOATS.copy()
    late[-1, -1] = np.nan
    np.save("late.npy", late)
    model = fastseg.segment(FLOATS, 3, random_state=0)
    predict_file(model, "late.npy", "b.npy")
    np.testing.assert_array_equal(np.load("b.npy"), model.predict(late))
    assert np.load("b.npy")[-1, -1] == 0


# What else is written, and how


def test_a_model_and_a_preview_come_with_the_labels(here):
    options = FileOptions(preview="p.png")
    result = segment_file("a.tif", "b.tif", 3, random_state=0, model="m.json", options=options)
    assert fastseg.load_model("m.json").counts.tolist() == result.counts.tolist()
    with pillow.open("p.png") as picture:
        assert max(picture.size) == 2048
        drawing = np.array(picture)
    for color in result.palette():
        assert (drawing == color).all(axis=-1).sum() > 500


def test_previews_show_what_is_there(here):
    steps = np.repeat(np.array([10, 90, 170, 250], np.uint8), 1000)
    image = np.broadcast_to(steps[:, None], (4000, 300)).copy()
    np.save("steps.npy", image)
    segment_file("steps.npy", "b.npy", 4, options=FileOptions(preview="p.png"))
    with pillow.open("p.png") as picture:
        assert max(picture.size) <= 2048
        column = np.array(picture)[:, 28 + 5, 0]  # in the original
    assert [value for value in (10, 90, 170, 250) if (column == value).sum() > 300] == [
        10, 90, 170, 250,
    ]  # fmt: skip


def test_callbacks_hear_of_both_passes_and_can_stop(here, region_bytes):
    heard = []

    def callback(stage, done, total, info):
        heard.append((stage, done, total))

    segment_file("a.tif", "b.npy", 3, random_state=0, callback=callback)
    n = SMALL[..., 0].size
    for stage in ("count", "labels"):
        assert (stage, 0, n) in heard
        assert (stage, n, n) in heard
    for stage in ("count", "labels"):
        with pytest.raises(fastseg.Stopped, match=stage):
            segment_file("a.tif", "c.npy", 3, callback=lambda *told, stage=stage: told[0] == stage)
    assert not (here / "c.npy").exists()


def test_damaged_tiles_can_be_left_out(here, region_bytes):
    with tifffile.TiffFile("a.tif") as file:
        offsets = file.pages[0].dataoffsets[7], file.pages[0].dataoffsets[12]
    content = bytearray((here / "a.tif").read_bytes())
    for offset in offsets:
        content[offset + 5 : offset + 40] = b"\xff" * 35
    (here / "a.tif").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tif: the tile 7, at row 48 and column 128, cannot"):
        segment_file("a.tif", "b.npy", 3)
    assert not (here / "b.npy").exists()
    options = FileOptions(on_error="skip")
    result = segment_file("a.tif", "b.npy", 3, random_state=0, options=options)
    assert len(result.skipped) == 2
    assert sum(result.skipped.values()) == result.n_left_out == 2 * 48 * 64
    left = np.ones(SMALL.shape[:2], bool)
    left[48:96, 128:192] = left[96:144, 2 * 64 : 3 * 64] = False
    expected = fastseg.segment(SMALL, 3, mask=left, random_state=0)
    np.testing.assert_array_equal(np.load("b.npy"), expected.labels)


# Memory


def test_memory_is_a_quarter_of_what_is_free_and_words_are_understood(monkeypatch):
    monkeypatch.setattr("fastseg.memory.free_memory", lambda: 8 * 2**30)
    assert memory_budget() == 2 * 2**30
    monkeypatch.setattr("fastseg.memory.free_memory", lambda: 2**30)
    assert memory_budget() == 512 * MEBIBYTE
    for words, size in [("1GiB", 2**30), ("2GB", 2 * 10**9), ("800 MiB", 800 * MEBIBYTE),
                        ("1.5g", 1_500_000_000), (2**29, 2**29)]:  # fmt: skip
        assert memory_budget(words) == size
    for words in ("lots", "", "1 XB", "-1GiB"):
        with pytest.raises(ValueError, match="such as 1GiB, 800MiB or 2GB"):
            memory_budget(words)
    with pytest.raises(ValueError, match="less than the 512 MiB that are needed; give more"):
        memory_budget("10MiB")
    with pytest.raises(TypeError, match="memory must be bytes"):
        memory_budget(1.5)


def test_pieces_that_do_not_fit_the_memory_are_refused(here):
    wide = np.zeros((1, 60_000_000), np.uint16)
    tifffile.imwrite("wide.tif", wide, rowsperstrip=1, compression="zlib")
    with pytest.raises(ValueError, match=r"wide\.tif: is stored in pieces of 1 x 60000000 pixels"):
        segment_file("wide.tif", "b.npy", 2, options=FileOptions(memory="512MiB"))


def test_more_distinct_values_than_the_memory_holds_are_refused(here, monkeypatch):
    monkeypatch.setattr("fastseg.streaming.fit.VALUE_BYTES", 10**6)
    with pytest.raises(ValueError, match=r"a\.tif: has [\d,]+ distinct values.*--memory \d+MiB"):
        segment_file("a.tif", "b.npy", 2, options=FileOptions(memory="512MiB"))


def test_a_sample_that_the_memory_does_not_hold_is_refused(here):
    np.save("wide.npy", np.zeros((3000, 3000), np.uint8))
    with pytest.raises(ValueError, match=r"sample=8000000: 8,000,000 pixels .* or draw fewer"):
        segment_file("wide.npy", "b.npy", 2, sample=8_000_000, options=FileOptions(memory="512MiB"))


def test_labels_that_are_held_until_they_are_written_must_fit_the_memory(here, monkeypatch):
    monkeypatch.setattr("fastseg.streaming.reading.ENGINE_BYTES", 512 * MEBIBYTE - 50_000)
    for work in (
        lambda: segment_file("a.tif", "b.png", 2, options=FileOptions(memory="512MiB")),
        lambda: predict_file(
            fastseg.segment("a.tif", 2), "a.tif", "b.png", options=FileOptions(memory="512MiB")
        ),
    ):
        with pytest.raises(
            ValueError, match=r"b\.png: .* as a whole .* write \.tif, \.npy or \.zarr"
        ):
            work()
