"""What docs/embedding.md says of napari, done."""

import re
from pathlib import Path

import numpy as np

import fastseg

GUIDE = Path(__file__).parents[2] / "docs" / "embedding.md"


def test_the_blocks_of_the_guide_do_what_it_says(viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python napari\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S)
    panel_block, result_block, own_block = (compile(text, str(GUIDE), "exec") for text in blocks)
    known = {"viewer": viewer}

    exec(panel_block, known)
    qtbot.waitUntil(lambda: "photograph k=6" in viewer.layers, timeout=60_000)
    exec(result_block, known)
    assert known["result"].color_space == "oklab"
    photograph = viewer.layers["photograph"].data
    labels = viewer.layers["photograph k=6"].data
    assert (fastseg.load_model("model.json").predict(photograph) == labels).all()

    exec(own_block, known)
    qtbot.waitUntil(lambda: "mine" in viewer.layers, timeout=60_000)
    assert np.unique(viewer.layers["mine"].data).tolist() == [1, 2, 3, 4, 5, 6]


def test_every_word_of_the_panel_in_the_guide_is_on_it(panel):
    section = GUIDE.read_text("utf-8").split("\n## napari\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([a-z][^|]*?) \|", section, re.M)
    words = {word for row in rows for word in row.split(", ") if word != "in the panel"}
    shown = {panel.nodata.label, panel.seed.label, panel.image.label, panel.level.label}
    shown |= {panel.others.label, panel.k.label, panel.method.label, panel.space.label}
    shown |= {panel.mask.label, "standardize", "leave out the background"}
    assert words == shown
    assert panel.standardize.text.startswith("standardize")
    assert panel.foreground.text == "leave out the background"
