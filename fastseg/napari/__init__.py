"""A panel for napari that segments Image layers; napari finds it by ``napari.yaml``.

Nothing of fastseg imports this, and only ``panel.py`` needs a screen.
"""
