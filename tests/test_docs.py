"""What the documents show is run: the blocks of a section are one script."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fences import blocks

EMBEDDING = Path(__file__).parent.parent / "docs" / "embedding.md"


def scripts(path):
    """Title and ``python`` blocks of every section that has some, lines numbered as there."""
    found = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for kind, text, before in blocks(path):
        if kind == "python":
            title = next(line[3:] for line in reversed(lines[:before]) if line.startswith("## "))
            script = found.setdefault(title, [])
            script += [""] * (before - len(script)) + text.splitlines()
    return found


def test_only_python_blocks_are_run_and_errors_name_the_line(tmp_path):
    path = tmp_path / "some.md"
    path.write_text("## A\n```sh\nls\n```\n## B\n```python\na = 1\n```\ntext\n```python\na\n```\n")
    assert scripts(path) == {"B": ["", "", "", "", "", "", "a = 1", "", "", "", "a"]}


def test_every_fence_is_closed_and_known():
    fences = re.findall(r"^```.*$", EMBEDDING.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(fences[1::2]) == {"```"}
    assert set(fences[::2]) <= {"```python", "```python napari", "```sh", "```toml", "```text"}


@pytest.mark.parametrize(("title", "lines"), scripts(EMBEDDING).items(), ids=scripts(EMBEDDING))
def test_embedding(title, lines, tmp_path):
    script = tmp_path / "embedding.py"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{title}\n{done.stdout}{done.stderr}"
