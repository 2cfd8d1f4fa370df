"""The table of docs/reliability.md, made from what `make torture` found.

    python tests/reliability/report.py build/reliability.xml

A test records figures: what was done, and what came of it. A row is replaced by a later one
that says the same was done, so that a part can be run again by itself.
"""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: made by tests/reliability/report.py -->", "<!-- end of figures -->"
HEAD = ["| what is done | what is found | test | commit |", "|---|---|---|---|"]


def found(results, commit):
    """What is done, to the cells of its row, from a file of pytest's in JUnit's form."""
    rows = {}
    for case in ElementTree.parse(results).iter("testcase"):
        for figure in case.iter("property"):
            what, value = figure.get("name"), figure.get("value")
            module = case.get("classname").split(".test_")[1].split(".")[0]
            rows[what] = [what, value, f"`test_{module}`", f"`{commit}`"]
    return rows


def shown(page):
    """The rows of the table as it stands."""
    lines = page.split(BEGIN)[1].split(END)[0].strip().splitlines()[len(HEAD) :]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: row for row in cells}


def updated(page, rows):
    """Page with these rows in its table, among the others, by the name of their test."""
    merged = sorted((shown(page) | rows).values(), key=lambda row: row[2])
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    table = [*HEAD, *("| " + " | ".join(row) + " |" for row in merged)]
    return "\n".join([before + BEGIN, "", *table, "", END]) + after


def main(results):
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    PAGE.write_text(updated(PAGE.read_text(), found(results, commit)))


if __name__ == "__main__":
    main(*sys.argv[1:])
