"""A page of what was measured: one file that loads nothing, for a desk and a phone."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from .cases import STAGES
from .plots import figures
from .suite import Contest, Measured
from .words import (
    HEADS,
    UNFAIR,
    cautions,
    cells,
    crossing_words,
    described,
    machine_lines,
    title,
    verdicts,
)

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; color: #1a1a1a; background: #fff;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 0.3rem; }
.note { border-left: 0.25rem solid #d55e00; background: #fdf3ec; padding: 0.5rem 0.75rem;
  margin: 0.5rem 0; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; flex: 1 1 20rem; min-width: 0; max-width: 29rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: 0.9rem; color: #444; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.25rem 0.6rem 0.25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #e3e3e3; }
th:first-child, td:first-child { text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; margin: 0; }
dt { color: #555; } dd { margin: 0; min-width: 0; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; padding: 0.4rem 0;
    border-bottom: 1px solid #ccc; }
  td { border: 0; padding: 0; text-align: left; white-space: normal; }
  td:first-child { grid-column: 1 / -1; font-weight: 600; }
  td:not(:first-child)::before { content: attr(data-head) " "; color: #666; }
}
"""
_SERIES = {
    "picture": "Pictures", "points": "Points of float32 that do not repeat",
    "pixels": "Time against pixels", "clusters": "Time against the number of clusters",
}  # fmt: skip
_NO_CROSSING = "Between the sizes measured no implementation overtakes another"
_CAPTIONS = {
    "pixels": "Time of ten iterations on a picture in several sizes, from pixels in memory to"
    " labels in memory; quartiles shaded.",
    "clusters": "Time of ten iterations for several numbers of clusters.",
    "roofline": "What the kernels reach on float32 points (points x features, clusters) under what"
    " the processor can do at most. Roofs of a GPU are not measured.",
}


def page(measured: Measured) -> str:
    """HTML of a report.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    crossed = crossing_words(measured) or [_NO_CROSSING]
    seen = described(measured)
    captions = _CAPTIONS | {"pixels": f"{_CAPTIONS['pixels']} {'; '.join(crossed)}."}
    plots = "".join(
        _figure(svg, seen[name], captions[name]) for name, svg in figures(measured).items()
    )
    parts = [
        "<h1>Clustering pixels on this machine</h1>",
        f"<p>{escape(_lead(measured))}</p>",
        *(f'<p class="note">{escape(words)}</p>' for words in cautions(measured)),
        "<h2>Which is the fastest</h2>",
        _list([*verdicts(measured), *crossed]),
        "<h2>Plots</h2>",
        f'<div class="plots">{plots}</div>',
        *(_section(heading, measured, series) for series, heading in _SERIES.items()),
        "<h2>How to read it</h2>",
        _list(_reading()),
        "<h2>What is unfair</h2>",
        _list(UNFAIR),
        "<h2>The machine</h2>",
        _facts(machine_lines(measured.machine)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>fastseg bench</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _lead(measured: Measured) -> str:
    machine = measured.machine
    kind = "A quick look" if measured.quick else "A measurement"
    return (
        f"{kind} of {machine['date'][:10]} by fastseg {machine['versions']['fastseg']} on"
        f" {machine['processor']}, {machine['cores']} cores."
    )


def _reading() -> Iterable[str]:
    yield "All start from the same centres. Answers are compared before anything is timed."
    yield (
        "median and quartiles: of the runs after warming up, in which all take turns. x: time as a"
        " multiple of the first row's, the median of the turns; above 1 is slower. first: the"
        " first run, apart from the others; the first of all loads or compiles code."
    )
    yield (
        "equal: share of pixels in the same cluster as in the first row. inertia: sum of"
        " squared distances to the means of the clusters, computed from the labels."
    )
    yield (
        "memory: the most that was held during the work beyond what was held before, without a"
        " GPU's own."
    )
    for name, words in STAGES.items():
        yield f"{name}: {words}"


def _section(heading: str, measured: Measured, series: str) -> str:
    tables = [_table(one) for one in measured.contests if one.series == series]
    return f"<h2>{escape(heading)}</h2>" + "".join(tables) if tables else ""


def _table(contest: Contest) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in HEADS)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td data-head="{escape(name)}">{escape(words)}</td>'
            for name, words in zip(HEADS, cells(row), strict=True)
        )
        + "</tr>"
        for row in contest.rows
    )
    return (
        f"<h3>{escape(title(contest))}: {escape(contest.stage)}</h3>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _figure(svg: str, seen: str, caption: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><img alt="{escape(seen)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(words)}</li>" for words in sentences) + "</ul>"


def _facts(found: dict[str, str]) -> str:
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in found.items())
    return f"<dl>{entries}</dl>"
