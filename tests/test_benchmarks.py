"""Parity over the benchmarks' own table: every implementation that is installed, on every case.

The table of benchmarks/cases.py and benchmarks/implementations.py drives the timings too.
"""

import json
import time

import check
import numpy as np
import pytest
from cases import CASES
from implementations import IMPLEMENTATIONS, entrants
from readme_table import README, RESULTS, table, updated
from threadpoolctl import threadpool_limits

from fastseg.bench.answers import SAME
from fastseg.bench.contest import contest


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """On points this few, threads of OpenMP wait for each other more than they work."""
    with threadpool_limits(1):
        yield


@pytest.mark.filterwarnings("ignore")  # of other libraries
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_answers_agree(case):
    problem = case.make(True)
    works = entrants(case, problem)
    rows = contest(problem.values, works, budget=0, turns=(1, 1), settle=0)
    assert rows[0].name == "fastseg"
    assert len(rows) > 1
    for row, work in zip(rows, works, strict=True):
        if work.read is None:
            continue
        assert row.verdict.agrees, row
        if work.tolerance == SAME:
            assert row.verdict.equal_labels == 1.0, row


def test_names_are_told_apart():
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({one.name for one in IMPLEMENTATIONS}) == len(IMPLEMENTATIONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_has_someone_to_compare_with(case):
    assert sum(case.task in one.tasks for one in IMPLEMENTATIONS) >= 2


def test_optima_are_never_above_what_others_find():
    for case in (case for case in CASES if case.task == "optimum"):
        problem = case.make(True)
        rows = contest(problem.values, entrants(case, problem), budget=0, turns=(1, 1), settle=0)
        assert np.all([row.verdict.excess >= -SAME for row in rows]), case.name


def test_compare_shows_and_keeps_what_a_case_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FASTSEG_NUM_THREADS", "2")  # or it sets them for good
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    import compare

    monkeypatch.setattr(compare, "SETTLE", 0.0)
    monkeypatch.setattr(compare, "TURNS", (1, 1))
    kept, case = tmp_path / "kept.json", "points-1000x2-k3"
    compare.main([case, "--with", "scikit-learn", "--save", str(kept)])
    found = json.loads(kept.read_text())["cases"]
    assert [one["name"] for one in found] == [case]
    assert [row["name"] for row in found[0]["rows"]] == ["fastseg", "scikit-learn"]
    assert f"{case}: 1,000 x 2 float32, k=3" in capsys.readouterr().out
    with pytest.raises(SystemExit):  # before the first case, which may take minutes
        compare.main([case, "--save", str(tmp_path / "none" / "kept.json")])
    assert "its folder is not there or cannot be written to" in capsys.readouterr().err


# The README's table


def test_the_table_in_the_readme_is_that_of_the_results():
    assert updated(README.read_text(), json.loads(RESULTS.read_text())) == README.read_text()


def test_a_loss_is_a_row_like_others():
    def row(name, seconds, ratio, verdict=None):
        times = {"median": seconds}
        return {"name": name, "seconds": times, "ratio": {"median": ratio}, "verdict": verdict}

    case = {"title": "some points", "rows": [
        row("fastseg", 0.2, 1.0), row("fast", 0.1, 0.5, {"excess": 0.02}),
        {"name": "wrong", "seconds": None, "ratio": None, "verdict": {"excess": 0.5}},
    ]}  # fmt: skip
    line = table({"cases": [case]})[2]
    assert line == "| some points | 200 ms | fast 100 ms (inertia +2 %) | 0.50 |"


def test_the_results_are_of_the_cases():
    titles = {case.name: case.title for case in CASES}
    for one in json.loads(RESULTS.read_text())["cases"]:
        assert titles[one["name"]] == one["title"]


# The guard


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """One kernel, of a pace that the test sets."""
    pace = {"seconds": 0.004}
    works = {"kernel": lambda: lambda: time.sleep(pace["seconds"])}
    monkeypatch.setattr(check, "WORKS", works)
    monkeypatch.setattr(check, "yardstick", lambda: time.sleep(0.002))
    monkeypatch.setattr(check, "ROUNDS", 9)
    monkeypatch.setattr(check, "COMMITTED", tmp_path / "ratios.json")
    return pace


def test_the_guard_fails_past_its_limit_and_only_there(guarded, capsys):
    with pytest.raises(SystemExit, match="no ratios are committed"):
        check.main([])
    check.main(["--save"])
    check.main([])
    guarded["seconds"] = 0.008
    with pytest.raises(SystemExit, match="slower by more than 15%: kernel"):
        check.main([])
    guarded["seconds"] = 0.002
    check.main([])
    assert "committed" in capsys.readouterr().out
