"""How napari finds the plugin, and what it costs those who do not use it."""

import subprocess
import sys

import numpy as np
import pytest
from npe2 import PluginManifest

import fastseg


@pytest.fixture
def manifest():
    return PluginManifest.from_distribution("fastseg")


def test_it_is_found_by_its_entry_point_and_all_it_names_can_be_imported(manifest):
    manifest.validate_imports()
    assert manifest.name == "fastseg"
    assert manifest.package_version == fastseg.__version__


def test_the_panel_is_in_the_menu_of_segmentation(manifest):
    (item,) = manifest.contributions.menus["napari/layers/segment"]
    (widget,) = manifest.contributions.widgets
    assert item.command == widget.command == "fastseg.segment"


def test_the_samples_open(viewer):
    (photograph,) = viewer.open_sample("fastseg", "photograph")
    assert photograph.rgb
    assert photograph.data.shape == (427, 640, 3)
    (volume,) = viewer.open_sample("fastseg", "volume")
    assert volume.ndim == 3
    assert volume.scale.tolist() == [2, 1, 1]


def test_the_volume_has_the_tissues_it_is_made_of(viewer):
    (volume,) = viewer.open_sample("fastseg", "volume")
    found = fastseg.segment(volume.data, 5, channel_axis=None)
    np.testing.assert_allclose(found.centers[1:, 0], [40, 90, 140, 200], atol=2)


def test_importing_fastseg_loads_nothing_of_napari():
    code = "import sys, fastseg; fastseg.segment; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"napari", "npe2", "magicgui", "qtpy"}.isdisjoint(done.stdout.split())
