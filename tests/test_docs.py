"""Every block of Python in the documentation runs, those of a page one after the other."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md"))


def sections(page):
    """Titles of the second level, and the blocks of Python under each."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    titles = ["", *parts[1::2]]
    for title, text in zip(titles, parts[::2], strict=True):
        blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        if blocks:
            yield title, blocks


@pytest.mark.parametrize(
    ("page", "title"), [(page, title) for page in PAGES for title, _ in sections(page)]
)
def test_blocks_of_a_section_run(page, title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, block in enumerate(dict(sections(page))[title]):
        exec(compile(block, f"{page}, {title}, block {number}", "exec"), names)


def test_there_are_blocks_to_run():
    assert ("embedding.md", "Dask") in [(page, t) for page in PAGES for t, _ in sections(page)]
