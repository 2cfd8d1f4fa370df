import sys

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

import fastseg
from fastseg.napari.layers import grid


def corners(layer, shape):
    """World coordinates of the first and last pixel's centre."""
    return layer.data_to_world([0] * len(shape)), layer.data_to_world([n - 1 for n in shape])


def test_a_photograph_gets_the_labels_of_segment(viewer, panel, run, photograph):
    viewer.add_image(photograph, name="sea")
    panel.k.value = 4
    layer = run()
    expected = fastseg.segment(photograph, 4, random_state=0, start_label=1)
    assert isinstance(layer, Labels)
    assert layer.name == "sea k=4"
    np.testing.assert_array_equal(layer.data, expected.labels)
    assert layer.data.dtype == np.uint8
    assert "4 clusters: Lloyd's k-means" in panel.status.value


def test_labels_are_shown_in_the_colours_of_their_clusters(viewer, panel, run, photograph):
    viewer.add_image(photograph)
    panel.k.value = 4
    layer = run()
    centers = layer.metadata["fastseg"].centers
    shown = layer.colormap.map(np.arange(5, dtype=np.uint8))
    np.testing.assert_allclose(shown[1:, :3], centers / 255, atol=1e-6)
    assert shown[0, 3] == 0
    assert (shown[1:, 3] == 1).all()


def test_grey_clusters_are_coloured_as_the_image_shows_them(viewer, panel, run, grey):
    image = viewer.add_image(grey, colormap="green", contrast_limits=(20, 120), gamma=0.5)
    panel.k.value = 3
    layer = run()
    low, middle, high = layer.metadata["fastseg"].centers[:, 0]
    shown = layer.colormap.map(np.arange(1, 4, dtype=np.uint8))
    green = [0, ((middle - 20) / 100) ** 0.5, 1]
    assert low < 20 < middle < 120 < high
    np.testing.assert_allclose(shown[:, 1], green, atol=1e-6)
    np.testing.assert_allclose(shown[:, [0, 2]], 0, atol=1e-6)
    assert image.visible


def test_the_canvas_draws_just_those_colours(viewer, panel, run, photograph):
    image = viewer.add_image(photograph)
    panel.k.value = 4
    layer = run()
    image.visible, layer.opacity = False, 1.0
    canvas = viewer.window._qt_viewer.canvas
    canvas.on_draw(None)
    drawn = {tuple(color) for color in canvas._scene_canvas.render()[..., :3].reshape(-1, 3)}
    expected = np.rint(layer.metadata["fastseg"].centers)
    drawn = np.array(sorted(drawn - {(0, 0, 0)}))
    assert len(drawn) == 4
    distance = np.abs(drawn[:, None] - expected).max(axis=2)
    assert distance.min(axis=0).max() <= 1
    assert distance.min(axis=1).max() <= 1


def test_the_pointer_is_told_of_its_cluster(viewer, panel, run, grey):
    viewer.add_image(grey)
    panel.k.value = 3
    layer = run()
    table = layer.features
    expected = fastseg.segment(grey, 3)
    assert list(table["index"]) == [1, 2, 3]
    assert list(table["pixels"]) == expected.counts.tolist()
    np.testing.assert_array_equal(table["mean"], expected.centers[:, 0])
    assert table["percent"].sum() == pytest.approx(100)
    told = layer.get_status((10, 10), world=True)["value"]
    assert told.startswith(f"{layer.data[10, 10]}; pixels: ")


def test_one_channel_gets_the_global_optimum(viewer, panel, run, grey):
    viewer.add_image(grey)
    run()
    assert "8 clusters: global optimum" in panel.status.value


def test_a_volume_keeps_its_place(viewer, panel, run):
    volume = np.random.default_rng(2).integers(0, 256, (7, 9, 11)).astype(np.uint8)
    turn = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = 1.5 * turn, (3, 4, 5)
    image = viewer.add_image(
        volume, scale=(2, 0.5, 0.5), translate=(10, 20, 30), rotate=turn, shear=(0.1, 0, 0.2),
        affine=affine, units=("um", "um", "um"), axis_labels=("z", "y", "x"),
    )  # fmt: skip
    panel.k.value = 3
    layer = run()
    np.testing.assert_array_equal(
        layer.data, fastseg.segment(volume, 3, channel_axis=None, start_label=1).labels
    )
    np.testing.assert_allclose(corners(layer, (7, 9, 11)), corners(image, (7, 9, 11)))
    assert layer.units == image.units
    assert layer.axis_labels == ("z", "y", "x")


def test_a_short_last_axis_is_not_taken_for_channels(viewer, panel, run, grey):
    viewer.add_image(grey[:, :12].reshape(41, 4, 3), rgb=False)
    panel.k.value = 2
    assert run().data.shape == (41, 4, 3)


def test_transparent_pixels_are_left_out(viewer, panel, run, photograph):
    alpha = np.full((37, 53, 1), 255, np.uint8)
    alpha[:10] = 0
    viewer.add_image(np.concatenate([photograph, alpha], axis=-1))
    panel.k.value = 4
    layer = run()
    assert (layer.data[:10] == 0).all()
    np.testing.assert_array_equal(
        layer.data[10:], fastseg.segment(photograph[10:], 4, random_state=0, start_label=1).labels
    )
    assert "530 pixels left out" in panel.status.value


def test_layers_of_a_size_can_be_channels_of_one_image(viewer, panel, run, photograph):
    viewer.add_image(photograph, channel_axis=-1, name=["a", "b", "c"])
    viewer.add_image(np.zeros((5, 5)), name="of another size")
    panel.image.value = viewer.layers["a"]
    assert [layer.name for layer in panel.others.choices] == ["b", "c"]
    panel.others.value = [viewer.layers["b"], viewer.layers["c"]]
    panel.k.value = 4
    layer = run()
    expected = fastseg.segment(photograph, 4, random_state=0, start_label=1)
    np.testing.assert_array_equal(layer.data, expected.labels)
    assert {"a", "b", "c"} < set(layer.features.columns)
    assert [layer.name for layer in panel.others.value] == ["b", "c"]


def test_channels_that_lie_elsewhere_are_refused(viewer, panel, run, grey, messages):
    viewer.add_image(grey, name="a")
    viewer.add_image(grey, name="b", translate=(1, 0))
    panel.image.value = viewer.layers["a"]
    panel.others.value = [viewer.layers["b"]]
    assert run() is None
    assert messages() == [
        "layer 'b' lies elsewhere than 'a'; give both the same scale, translate, rotate, shear"
        " and affine"
    ]


def test_distances_can_be_taken_in_a_colour_space(viewer, panel, run, photograph):
    viewer.add_image(photograph)
    panel.k.value = 4
    for choice, space in (("CIELAB", "lab"), ("Oklab", "oklab"), ("linear light", "linear")):
        panel.space.value = choice
        assert run().metadata["fastseg"].color_space == space


def test_the_method_is_that_chosen(viewer, panel, run, grey):
    viewer.add_image(grey)
    panel.k.value = 3
    choices = {
        "optimal (one channel)": {"method": "optimal"},
        "Lloyd's k-means": {"method": "lloyd"},
        "Ward's tree": {"method": "ward"},
        "Ward's tree of 1024 colours": {"method": "ward", "prototypes": 1024},
    }
    assert set(panel.method.choices) == {"automatic", *choices}
    for choice, options in choices.items():
        panel.method.value = choice
        expected = fastseg.segment(grey, 3, **options, random_state=0, start_label=1)
        layer = run()
        assert layer.metadata["fastseg"].method == options["method"]
        np.testing.assert_array_equal(layer.data, expected.labels)


def test_k_can_be_chosen(viewer, panel, run, grey):
    viewer.add_image(grey)
    panel.choose_k.value = True
    assert not panel.k.enabled
    assert run().name.endswith("k=3")


class TestLeavingOut:
    def test_what_a_labels_layer_does_not_cover(self, viewer, panel, run, grey):
        viewer.add_image(grey)
        mask = np.zeros(grey.shape, int)
        mask[5:30, 4:20] = 7
        viewer.add_labels(mask, name="cell")
        panel.mask.value = viewer.layers["cell"]
        panel.k.value = 3
        layer = run()
        np.testing.assert_array_equal(layer.data == 0, mask == 0)
        np.testing.assert_array_equal(layer.data, fastseg.segment(grey, 3, mask=mask).labels)

    def test_a_mask_of_another_size_is_refused_in_the_words_of_segment(
        self, viewer, panel, run, grey, messages
    ):
        viewer.add_image(grey)
        viewer.add_labels(np.ones((4, 4), int), name="small")
        panel.mask.value = viewer.layers["small"]
        assert run() is None
        with pytest.raises(ValueError, match="mask has shape") as error:
            fastseg.segment(grey, mask=np.ones((4, 4), int))
        assert messages() == [str(error.value)]
        assert panel.status.value == str(error.value)

    def test_a_mask_that_lies_elsewhere_is_refused(self, viewer, panel, run, grey, messages):
        viewer.add_image(grey, name="image", scale=(2, 2))
        viewer.add_labels(np.ones(grey.shape, int), name="mask")
        panel.mask.value = viewer.layers["mask"]
        assert run() is None
        assert messages()[0].startswith("layer 'mask' lies elsewhere than 'image'")

    def test_no_data(self, viewer, panel, run, grey):
        viewer.add_image(grey)
        panel.k.value = 3
        panel.nodata.value = str(grey.max())
        np.testing.assert_array_equal(run().data == 0, grey == grey.max())

    def test_no_data_that_is_no_number(self, viewer, panel, run, grey, messages):
        viewer.add_image(grey)
        panel.nodata.value = "black"
        assert run() is None
        assert messages() == ["no data must be a number, got 'black'; leave it empty for none"]

    def test_the_background(self, viewer, panel, run, grey):
        viewer.add_image(grey)
        panel.k.value = 2
        panel.foreground.value = True
        expected = fastseg.segment(grey, 2, foreground="auto", start_label=1)
        np.testing.assert_array_equal(run().data, expected.labels)

    def test_the_background_is_no_matter_of_colours(self, viewer, panel, run, photograph):
        viewer.add_image(photograph)
        assert not panel.foreground.enabled


class TestMultiscale:
    @pytest.fixture
    def pyramid(self, viewer):
        fine = np.random.default_rng(3).integers(0, 256, (64, 48)).astype(np.uint8)
        half = fine.reshape(32, 2, 24, 2).mean(axis=(1, 3)).astype(np.uint8)
        return viewer.add_image([fine, half], multiscale=True, scale=(0.5, 0.25), translate=(9, 8))

    def test_the_finest_level_that_fits_is_offered(self, pyramid, panel):
        panel.reset_choices()
        assert [panel.level.get_choice(text) for text in ("64 x 48", "32 x 24")] == [0, 1]
        assert panel.level.value == 0

    def test_a_level_that_takes_more_than_its_share_of_memory_is_not(
        self, panel, viewer, grey, monkeypatch
    ):
        monkeypatch.setattr("fastseg.napari.layers.memory_budget", lambda: grey.nbytes - 1)
        viewer.add_image([grey, grey[::2, ::2]], multiscale=True)
        assert panel.level.value == 1

    def test_labels_of_a_coarser_level_cover_the_finer_pixels(self, pyramid, panel, run):
        panel.level.value = 1
        panel.k.value = 3
        layer = run()
        assert layer.data.shape == (32, 24)
        # The middle of the first and the last two by two pixels.
        middles = [pyramid.data_to_world(c) for c in ((0.5, 0.5), (62.5, 46.5))]
        np.testing.assert_allclose(corners(layer, (32, 24)), middles)
        assert panel.level.value == 1

    def test_a_layer_of_one_level_is_no_channel_of_it(self, pyramid, viewer, panel):
        viewer.add_image(np.zeros((64, 48)), name="plain")
        panel.image.value = pyramid
        assert panel.others.choices == ()

    def test_a_fine_mask_goes_with_a_coarse_level(self, pyramid, viewer, panel, run):
        mask = np.zeros((64, 48), int)
        mask[:, 24:] = 1
        viewer.add_labels(mask, scale=(0.5, 0.25), translate=(9, 8), name="right")
        panel.level.value = 1
        panel.mask.value = viewer.layers["right"]
        layer = run()
        assert (layer.data[:, :12] == 0).all()
        assert (layer.data[:, 12:] > 0).all()


class TestLazyData:
    def test_dask_gets_the_same_labels(self, viewer, panel, run, photograph):
        viewer.add_image(da.from_array(photograph, chunks=(10, 20, 3)))
        panel.k.value = 4
        expected = fastseg.segment(photograph, 4, random_state=0, start_label=1)
        np.testing.assert_array_equal(run().data, expected.labels)

    def test_what_does_not_fit_into_memory_is_refused(
        self, viewer, panel, run, messages, monkeypatch
    ):
        monkeypatch.setattr("fastseg.napari.layers.free_memory", lambda: 2**21)
        viewer.add_image(
            da.zeros((3, 1024, 1024), dtype=np.uint8), name="huge", contrast_limits=(0, 1)
        )
        assert run() is None
        assert messages() == [
            "layer 'huge' takes 3 MiB in memory, but 2 MiB are free; choose a coarser level, crop"
            " it, or segment its file with fastseg.segment_file"
        ]

    def test_an_array_in_memory_is_not_asked_how_large_it_is(
        self, viewer, panel, run, grey, monkeypatch
    ):
        monkeypatch.setattr("fastseg.napari.layers.free_memory", lambda: 1)
        viewer.add_image(grey)
        assert run() is not None


class TestRunning:
    @pytest.fixture
    def slow(self, viewer):
        """A layer whose second chunk is given only when the test says so."""
        from threading import Event

        release, asked = Event(), Event()

        def chunk(block_info=None):
            if block_info[None]["chunk-location"][0] == 1 and asked.is_set():
                release.wait(30)
            return np.arange(300, dtype=np.uint8).reshape(10, 30)

        data = da.map_blocks(chunk, chunks=((10, 10, 10), (30,)), dtype=np.uint8)
        viewer.add_image(data, contrast_limits=(0, 255))
        asked.set()
        yield release
        release.set()

    def test_the_window_goes_on_meanwhile(self, slow, viewer, panel, qtbot):
        panel.start()
        qtbot.waitUntil(lambda: panel.status.value == "Reading the layer", timeout=60_000)
        qtbot.waitUntil(lambda: panel.bar.value == 33, timeout=60_000)
        assert not panel.start_button.enabled
        slow.set()
        qtbot.waitUntil(lambda: panel.start_button.enabled, timeout=60_000)
        assert len(viewer.layers) == 2

    def test_cancelling_leaves_nothing(self, slow, viewer, panel, qtbot, messages):
        panel.start()
        qtbot.waitUntil(lambda: panel.bar.value == 33, timeout=60_000)
        panel.cancel_button.native.click()
        assert panel.status.value == "Stopping"
        slow.set()
        qtbot.waitUntil(lambda: panel.worker is None, timeout=60_000)
        assert panel.status.value == "Cancelled"
        assert len(viewer.layers) == 1
        assert messages() == []

    def test_closing_the_window_stops_the_work(self, slow, viewer, panel, qtbot, messages):
        panel.start()
        qtbot.waitUntil(lambda: panel.bar.value == 33, timeout=60_000)
        worker = panel.worker
        viewer.close()
        qtbot.waitUntil(lambda: worker.abort_requested, timeout=60_000)
        slow.set()
        qtbot.waitUntil(lambda: panel.worker is None, timeout=60_000)
        assert messages() == []

    def test_a_panel_put_away_goes_on_working(self, slow, viewer, panel, qtbot):
        panel.start()
        qtbot.waitUntil(lambda: panel.bar.value == 33, timeout=60_000)
        viewer.window.remove_dock_widget(panel.native)
        slow.set()
        qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=60_000)

    def test_what_segment_warns_of_is_told(
        self, viewer, panel, run, photograph, messages, monkeypatch
    ):
        once = {"method": "lloyd", "max_iter": 1}
        monkeypatch.setitem(sys.modules["fastseg.napari.panel"]._METHODS, "automatic", once)
        viewer.add_image(photograph)
        run()
        with pytest.warns(fastseg.ConvergenceWarning) as warned:
            fastseg.segment(photograph, 8, **once, random_state=0)
        assert messages() == [str(warned[0].message)]

    def test_an_error_that_is_no_ones_fault_keeps_its_traceback(
        self, viewer, panel, run, grey, monkeypatch
    ):
        from napari.utils.notifications import ErrorNotification, notification_manager

        def broken(self, callback):
            raise RuntimeError("broken")

        monkeypatch.setattr("fastseg.napari.job.Job.run", broken)
        viewer.add_image(grey)
        assert run() is None
        assert isinstance(notification_manager.records[-1], ErrorNotification)


def test_without_an_image_there_is_nothing_to_press(viewer, panel, grey):
    assert not panel.start_button.enabled
    viewer.add_image(grey)
    assert panel.start_button.enabled
    assert panel.image.value is viewer.layers[0]
    viewer.layers.clear()
    assert not panel.start_button.enabled


def test_the_panel_offers_what_fits_the_image(viewer, panel, grey, photograph):
    viewer.add_image(grey, name="grey")
    colour = viewer.add_image(photograph, name="colour")
    panel.image.value = viewer.layers["grey"]
    assert not panel.space.enabled
    assert panel.foreground.enabled
    panel.image.value = colour
    assert panel.space.enabled
    assert panel.standardize.enabled
    assert not panel.foreground.enabled


def test_a_second_run_adds_a_second_layer(viewer, panel, run, grey):
    viewer.add_image(grey)
    first, second = run(), run()
    assert first is not second
    assert isinstance(viewer.layers[0], Image)
    assert grid(first) == grid(second) == grey.shape
