"""The README's table of speed, made from a file of results: losses are rows like others.

    python benchmarks/readme_table.py

Replaces what stands between the markers in the README; a test says when it is out of date.
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
RESULTS = HERE / "results" / "amd-epyc-2-cores.json"
BEGIN, END = "<!-- speed: made by benchmarks/readme_table.py -->", "<!-- end of speed -->"
# A larger sum of squares than this is worth a word.
TOLD = 1e-3


def time_words(seconds):
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    ms = 1e3 * seconds
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms" if ms >= 1 else f"{ms:.2f} ms"


def ratio_words(ratio):
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def peer_words(row):
    """Name and time of a peer, and by how much its answer is worse or better."""
    verdict = row["verdict"]
    words = f"{row['name']} {time_words(row['seconds']['median'])}"
    if verdict is not None and abs(verdict["excess"]) > TOLD:
        words += f" (inertia {100 * verdict['excess']:+.2g} %)"
    return words


def table(results):
    """Lines of Markdown, a row for each case; the ratio is above 1 where fastseg is faster."""
    lines = ["| case | fastseg | peers | ratio |", "|---|---|---|---|"]
    for case in results["cases"]:
        ours, *peers = [row for row in case["rows"] if row["seconds"] is not None]
        ratios = ", ".join(ratio_words(row["ratio"]["median"]) for row in peers)
        listed = ", ".join(peer_words(row) for row in peers)
        own = time_words(ours["seconds"]["median"])
        lines.append(f"| {case['title']} | {own} | {listed} | {ratios} |")
    return lines


def updated(readme, results):
    """README with the table of these results between its markers."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return "\n".join([before + BEGIN, "", *table(results), "", END]) + after


def main():
    README.write_text(updated(README.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
