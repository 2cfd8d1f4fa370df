"""The examples of the documentation, each run as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        # Below empty lines, so that an error tells its line in the document.
        yield pytest.param("\n" * line + match[1], id=f"{name}:{line + 1}")


@pytest.mark.parametrize("code", list(blocks("docs/embedding.md")))
def test_example(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/embedding.md", "exec"), {"__name__": "example"})
