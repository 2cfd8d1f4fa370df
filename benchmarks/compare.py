"""All implementations on all cases: the answers compared first, then times, in turns.

    python benchmarks/compare.py [CASE ...] [--with NAME] [--save results/MACHINE.json]

Every case prints a table: the median time, quartiles, time as a multiple of fastseg's, share of
equal labels, inertia and memory. Both sides use FASTSEG_NUM_THREADS threads, two by
default. With ``--save`` the cases that ran replace those of the same name in the file,
from which `readme_table.py` makes the README's table.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

N_THREADS = int(os.environ.setdefault("FASTSEG_NUM_THREADS", "2"))
os.environ.setdefault("OMP_NUM_THREADS", str(N_THREADS))

from cases import CASES, Missing  # noqa: E402
from implementations import IMPLEMENTATIONS, entrants  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from fastseg.bench import machine, words  # noqa: E402
from fastseg.bench.contest import contest  # noqa: E402

# Some work takes minutes; of the rest there is time for many turns.
BUDGET, TURNS = 20.0, (3, 15)
# FAISS's and Intel's threads spin for longer than a moment.
SETTLE = 0.5


def measure(case, names=None):
    """Facts about a case, and rows of what everybody did."""
    problem = case.make(False)
    rows = contest(
        problem.values, entrants(case, problem, names), budget=BUDGET, turns=TURNS, settle=SETTLE
    )
    n, d = problem.values.shape
    facts = {"name": case.name, "title": case.title, "task": case.task, "n_points": n,
             "n_features": d, "n_clusters": problem.n_clusters,
             "dtype": problem.values.dtype.name}  # fmt: skip
    return facts, rows


def show(facts, rows, console):
    title = f"{facts['name']}: {facts['n_points']:,} x {facts['n_features']} {facts['dtype']}"
    table = Table(title=f"{title}, k={facts['n_clusters']}", title_justify="left", box=None)
    for name in words.HEADS:
        table.add_column(name, justify="left" if name == words.HEADS[0] else "right")
    for row in rows:
        table.add_row(*words.cells(row))
    console.print(table)


def about_machine():
    """Facts about the machine, with the versions of all implementations."""
    about = machine.facts(N_THREADS)
    names = {one.distribution or one.name for one in IMPLEMENTATIONS}
    new = sorted(name for name in names if name.lower() not in about["versions"])
    about["versions"] |= machine.versions_of(new)
    return about


def save(path, facts, rows):
    """Put a case into a file of results, in the order of the table of cases."""
    stored = json.loads(path.read_text()) if path.exists() else {"format": 1, "cases": []}
    entry = {**facts, "machine": about_machine(), "rows": [asdict(row) for row in rows]}
    kept = {one["name"]: one for one in stored["cases"]} | {facts["name"]: entry}
    order = {case.name: place for place, case in enumerate(CASES)}
    stored["cases"] = sorted(kept.values(), key=lambda one: order.get(one["name"], len(order)))
    path.write_text(json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def main(args=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [case.name for case in CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of {', '.join(names)}")
    parser.add_argument("--with", dest="peers", action="append", metavar="NAME",
                        help="compare with this implementation alone; may be given several times",
                        choices=[one.name for one in IMPLEMENTATIONS])  # fmt: skip
    parser.add_argument("--save", type=Path, metavar="FILE.json")
    given = parser.parse_args(args)
    unknown = sorted(set(given.cases) - set(names))
    if unknown:
        parser.error(f"no case is named {', '.join(unknown)}; there are {', '.join(names)}")
    if given.save is not None and not os.access(given.save.absolute().parent, os.W_OK):
        parser.error(f"--save {given.save}: its folder is not there or cannot be written to")
    console = Console(highlight=False, width=None if os.isatty(1) else 110)
    about = about_machine()
    told = words.machine_lines(about) | {"threads": f"{N_THREADS} of each"}
    for name, fact in told.items():
        console.print(f"{name + ':':<14}{fact}")
    for one in IMPLEMENTATIONS:
        if one.missing() is not None:
            console.print(f"{one.name} is left out: {one.missing()}")
    if machine.is_busy(about):
        console.print(f"Other work is running (load {about['load']}): do not keep these times.")
    for case in CASES:
        if given.cases and case.name not in given.cases:
            continue
        try:
            facts, rows = measure(case, given.peers)
        except Missing as why:
            console.print(f"{case.name} is left out: {why}")
            continue
        show(facts, rows, console)
        if given.save is not None:
            save(given.save, facts, rows)


if __name__ == "__main__":
    main()
