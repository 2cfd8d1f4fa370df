"""What the pages of the documentation show is run: the blocks of a page, one after the other."""

import inspect
import re
import shlex
import tomllib
from pathlib import Path

import matplotlib
import pytest
from fences import blocks

import fastseg
import fastseg.io
import fastseg.semi_supervised
from fastseg.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))
RUN_ELSEWHERE = {"embedding.md"}


def commands(text):
    """Words of every command of a block for the shell."""
    for line in text.replace("\\\n", " ").splitlines():
        yield shlex.split(line, comments=True)


def run_command(words, page):
    """Run a command of fastseg; of others see that what they name is there."""
    if words[0] == "fastseg":
        assert main(words[1:]) == 0, f"{page}: {shlex.join(words)}"
    elif words[0] == "python":
        script = next(word for word in words if word.endswith(".py"))
        assert (ROOT / script).is_file(), f"{page}: {shlex.join(words)}"
    else:
        assert words == ["pip", "install", "."], f"{page}: {shlex.join(words)}"


def shown(page):
    return [b for b in blocks(DOCS / page) if b[0] in ("python", "sh")]


@pytest.mark.parametrize("page", [p for p in PAGES if p not in RUN_ELSEWHERE and shown(p)])
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names = {"__name__": "__main__"}
    for language, text, before in shown(page):
        if language == "sh":
            for words in commands(text):
                run_command(words, page)
        else:
            # Errors name the line of the page.
            exec(compile("\n" * before + text, DOCS / page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    known = {"python", "sh", "{toctree}", "{include}", "{eval-rst}", "{literalinclude}"}
    if page not in RUN_ELSEWHERE:
        assert {kind.partition(" ")[0] for kind, _, _ in blocks(DOCS / page)} <= known
    text = (DOCS / page).read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(list(blocks(DOCS / page)))


def test_extras_that_are_named_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        for named in re.findall(r'"(?:\.|fastseg)\[([\w,]+)\]"', text):
            assert set(named.split(",")) <= set(extras["optional-dependencies"]), page


def documented(module):
    """Names that the pages of the reference describe of a module."""
    found = set()
    for page in (DOCS / "reference").glob("*.md"):
        parts = re.split(r"^\.\. currentmodule:: (.+)$", page.read_text(), flags=re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name == module:
                found |= set(re.findall(r"^\.\. auto\w+:: (\w+)(?:\(|$)", text, re.MULTILINE))
    return found


def test_every_public_name_is_in_the_reference():
    assert documented("fastseg") == set(fastseg.__all__) - {"__version__"}
    own = {
        name
        for name, value in vars(fastseg.semi_supervised).items()
        if callable(value)
        and not name.startswith("_")
        and inspect.getmodule(value) is fastseg.semi_supervised
    }
    assert documented("fastseg.semi_supervised") == own
    assert {"read_image", "write_labels"} < documented("fastseg.io") < set(fastseg.io.__all__)


def test_every_example_is_in_the_gallery():
    page = (DOCS / "examples.md").read_text(encoding="utf-8")
    for script in (ROOT / "examples").glob("*.py"):
        assert f"../examples/{script.name}\n" in page
        assert f"(examples/{script.stem}.jpg)" in page
        assert 5_000 < (DOCS / "examples" / f"{script.stem}.jpg").stat().st_size < 100_000
