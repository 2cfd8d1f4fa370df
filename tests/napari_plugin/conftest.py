"""A real napari without a screen; `make test-napari` runs these tests in an environment with it."""

import sys

import numpy as np
import pytest

# Before Qt is imported by anything.
if sys.platform == "linux":
    import headless

    headless.choose_platform()
    try:
        headless.require_libraries()
        headless.make_context_current()
    except headless.Missing as missing:
        pytest.exit(str(missing), returncode=1)


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def panel(viewer):
    """The panel, opened as the menu does."""
    _, widget = viewer.window.add_plugin_dock_widget("fastseg", "Segment by clustering")
    return widget


@pytest.fixture
def messages():
    """What napari has told the user since the test began."""
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    return lambda: [str(note.message) for note in notification_manager.records]


@pytest.fixture
def run(viewer, panel, qtbot):
    """Press the button, wait, and give the layer that was added."""

    def run():
        before = len(viewer.layers)
        panel.start_button.native.click()
        qtbot.waitUntil(lambda: panel.worker is None, timeout=60_000)
        added = viewer.layers[before:]
        return added[0] if added else None

    return run


@pytest.fixture
def photograph():
    rng = np.random.default_rng(0)
    colors = np.array([[200, 30, 40], [20, 160, 60], [30, 60, 210], [240, 240, 230]])
    noisy = colors[rng.integers(0, 4, (37, 53))] + rng.integers(-12, 13, (37, 53, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.fixture
def grey():
    rng = np.random.default_rng(1)
    return (rng.integers(0, 3, (41, 29)) * 80 + rng.integers(0, 20, (41, 29))).astype(np.uint8)
