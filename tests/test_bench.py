"""`fastseg bench`: whose answers agree, what is timed, and the report that people read."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import chain, repeat
from xml.etree import ElementTree

import numpy as np
import pytest
from cuda_backends import emulated, needs_compiler
from PIL import Image as pillow
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from fastseg import dispatch
from fastseg.bench import cases, implementations, machine, suite, words
from fastseg.bench.answers import SAME, Answer, Judge, equal_share, starting_centers
from fastseg.bench.contest import Entrant, Row, Spread, contest
from fastseg.bench.page import page
from fastseg.bench.roofline import Rate, Roofs, measure_rates
from fastseg.cli import benching, main
from fastseg.kernels import roofs

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (23, 37, 3)).astype(np.uint8)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """On points this few, threads of OpenMP wait for each other more than they work."""
    with threadpool_limits(1):
        yield


def shrink(folder, monkeypatch):
    """The whole suite on a small picture, in an empty folder."""
    monkeypatch.chdir(folder)
    pillow.fromarray(RGB).save("in.png")
    monkeypatch.setattr(cases, "_SIZES", {True: (300, 900)})
    monkeypatch.setattr(cases, "_COUNTS", {True: (2, 8)})
    monkeypatch.setattr(cases, "_PIXELS_OF_COUNTS", {True: 500})
    monkeypatch.setattr(cases, "_POINTS", {True: ((400, 3, 4),)})
    monkeypatch.setattr(suite, "_QUICK_RATES", ((500, 3, 4),))
    monkeypatch.setattr(suite, "_TURNS", {True: (1, 1)})
    monkeypatch.setattr(suite, "measure_roofs", lambda *_, **__: Roofs(4e11, 2e11, 4e10))
    return folder


@pytest.fixture
def small(tmp_path, monkeypatch):
    return shrink(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """What the command printed, the folder of its report, and what it measured."""
    measured = []

    def bench(*args, **options):
        measured.append(suite.bench(*args, **options))
        return measured[0]

    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.redirect_stdout(printed):
        folder = shrink(tmp_path_factory.mktemp("bench"), monkeypatch)
        monkeypatch.setattr(benching, "bench", bench)
        pillow.fromarray(RGB).save("a<b>&.png")
        options = ["--quick", "--image", "a<b>&.png", "--backends", "cpu", "--out", "report"]
        assert main(["bench", *options]) == 0
    return printed.getvalue(), folder / "report", *measured


# Answers


def test_inertia_is_that_of_the_labels():
    values = RNG.normal(1e4, 3, (500, 3)).astype(np.float32)
    fitted = KMeans(4, n_init=1, random_state=0, tol=0).fit(values.astype(np.float64))
    verdict = Judge(values).verdict(Answer(fitted.labels_), SAME)
    np.testing.assert_allclose(verdict.inertia, fitted.inertia_, rtol=1e-9)
    assert (verdict.excess, verdict.equal_labels, verdict.agrees) == (0.0, 1.0, True)


def test_the_order_of_the_clusters_does_not_matter():
    first = np.array([0, 0, 1, 1, 2, 2, 2, 2, 2, 2])
    assert equal_share(first, 5 - first) == 1.0
    assert equal_share(first, np.array([4, 4, 4, 1, 2, 2, 2, 2, 2, 2])) == 0.9


def test_of_centers_alone_the_nearest_are_taken():
    values = RNG.random((200, 2))
    centers = values[:3]
    labels = ((values[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    judge = Judge(values)
    judge.verdict(Answer(labels), SAME)
    assert judge.verdict(Answer(centers=centers[::-1]), SAME).equal_labels == 1.0


def test_starts_are_off_all_ties_and_enough():
    values = RGB.reshape(-1, 3)
    start = starting_centers(values, 8)
    assert len(np.unique(start // 1, axis=0)) == 8
    assert np.all(start % 1 != 0)
    # As many clusters as values have no inertia, of which nobody can be a share away.
    with pytest.raises(ValueError, match=r"2 distinct values, and to time 2 clusters takes more"):
        starting_centers(np.array([[1], [2], [1]], np.uint8), 2)


def test_starts_among_floats_are_off_all_ties_too():
    thirds = np.repeat(np.arange(30, dtype=np.float32) / 3, 20)[:, None]
    start = starting_centers(thirds, 8)
    assert not np.any(np.isin(start, thirds))
    np.testing.assert_array_equal(start, start.astype(np.float32))


def test_inertia_far_below_the_variance_keeps_its_digits():
    labels = RNG.permutation(np.repeat([0, 1], 50_000))
    values = (6e4 * labels + RNG.integers(0, 2, len(labels))).astype(np.uint16)[:, None]
    exact = sum(
        float(((part - part.mean()) ** 2).sum())
        for part in (values[labels == label].astype(float) for label in (0, 1))
    )
    verdict = Judge(values).verdict(Answer(labels), SAME)
    np.testing.assert_allclose(verdict.inertia, exact, rtol=1e-12)


# Contests


def entrant(name, labels, seconds=0.0, tolerance=SAME, calls=None, **more):
    def work():
        if calls is not None:
            calls.append(name)
        time.sleep(seconds)
        return labels

    return Entrant(name, lambda: work, Answer, tolerance, **more)


POINTS = np.array([[0.0], [1.0], [10.0], [11.0]])
RIGHT, WRONG = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])


def test_an_answer_that_differs_gets_no_time():
    works = [entrant("a", RIGHT), entrant("b", WRONG), entrant("c", RIGHT)]
    right, wrong, _ = contest(POINTS, works, budget=0, settle=0)
    assert right.verdict.inertia == 1.0
    assert right.seconds is not None
    assert not wrong.verdict.agrees
    assert wrong.verdict.equal_labels == 0.75
    assert wrong == Row("b", wrong.verdict, None, None, None, 0, None)


def test_where_no_answer_is_confirmed_nobody_gets_a_time():
    calls = []
    works = [entrant("a", WRONG, calls=calls), entrant("b", RIGHT, calls=calls),
             entrant("c", RIGHT, tolerance=None), Entrant("d", lambda: list, None)]  # fmt: skip
    rows = contest(POINTS, works, budget=0, settle=0)
    assert [(row.seconds, row.first_seconds, row.n_runs) for row in rows] == [(None, None, 0)] * 4
    assert calls == ["a", "b"]
    reasons = [words.cells(row)[1:3] for row in rows]
    assert reasons[0] == reasons[2] == reasons[3] == ("not told", "no two agree")
    assert reasons[1][1].startswith("differs: inertia -")


def test_another_aim_is_timed_and_its_difference_told():
    _, other = contest(
        POINTS, [entrant("a", RIGHT), entrant("b", WRONG, tolerance=None)], budget=0, settle=0
    )
    assert other.seconds is not None
    assert other.verdict.excess == pytest.approx(other.verdict.inertia - 1)


def test_the_first_run_stands_apart():
    pauses = chain([0.1], repeat(0))

    def work():
        time.sleep(next(pauses))
        return RIGHT

    row = contest(POINTS, [Entrant("a", lambda: work, Answer, SAME)], budget=0, settle=0)[0]
    assert row.first_seconds >= 0.1
    assert row.seconds.high < 0.1


def test_all_take_turns():
    calls = []
    slow = [entrant(name, RIGHT, 0.02, calls=calls) for name in "ab"]
    rows = contest(POINTS, slow, budget=0, turns=(3, 9), settle=0)
    assert "".join(calls) == "ab" * 5  # to be warm, for memory and an estimate, three turns
    assert [row.n_runs for row in rows] == [3, 3]
    assert rows[0].ratio == Spread(1.0, 1.0, 1.0)
    assert rows[0].seconds.low >= 0.02


def test_a_part_counts_as_often_as_the_whole_holds_it():
    works = [entrant("a", RIGHT, 0.02), entrant("b", RIGHT, 0.02, times=10)]
    _, tenfold = contest(POINTS, works, budget=0, settle=0)
    assert tenfold.seconds.median >= 0.2


def test_memory_is_what_the_work_held_beyond_the_rest():
    n = 64 * 2**20

    def work():
        np.ones(n, np.uint8)
        return RIGHT

    row = contest(POINTS, [Entrant("a", lambda: work, Answer, SAME)], budget=0, settle=0)[0]
    if row.peak_bytes is None:
        pytest.skip("this system does not tell the peak of a call")
    assert 0.9 * n < row.peak_bytes < 1.5 * n


def test_quartiles():
    assert Spread.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Spread(3.0, 2.0, 4.0)


# Cases and implementations


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_picture_in_another_size_stays_itself(dtype):
    ramp = np.add.outer(np.arange(40), np.arange(60)).astype(dtype)[..., None]
    smaller, larger = cases.resized(ramp, 600), cases.resized(ramp, 9600)
    assert (smaller.dtype, smaller.shape, larger.shape) == (ramp.dtype, (600, 1), (9600, 1))
    assert abs(larger.mean() - ramp.mean()) < 1
    np.testing.assert_array_equal(cases.resized(ramp, 2400), ramp.reshape(-1, 1))


def test_pixels_that_a_file_leaves_out_take_no_part(tmp_path):
    alpha = np.where(np.arange(37) < 30, 255, 0) * np.ones((23, 1))
    pillow.fromarray(np.dstack([RGB, alpha.astype(np.uint8)])).save(tmp_path / "in.png")
    case = next(cases.cases(quick=True, picture=tmp_path / "in.png"))
    np.testing.assert_array_equal(case.values, RGB[:, :30].reshape(-1, 3))
    rows = contest(case.values, implementations.entrants(case, "file", ["cpu"]), budget=0, settle=0)
    assert [row.verdict.equal_labels for row in rows] == [1.0, 1.0]


def test_sizes_in_which_colours_are_lost_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "_SIZES", {True: (100, 90_000)})
    monkeypatch.setattr(cases, "_PIXELS_OF_COUNTS", {True: 90_000})
    dots = np.zeros((300, 300, 3), np.uint8)
    dots[::30, ::30] = RNG.integers(0, 40, (10, 10, 3))
    pillow.fromarray(dots).save(tmp_path / "dots.png")
    sizes = [len(case.values) for case in cases.cases(quick=True, picture=tmp_path / "dots.png")
             if case.series == "pixels"]  # fmt: skip
    assert sizes == [90_000]


@needs_compiler
def test_every_backend_takes_part_in_every_stage(small, monkeypatch):
    named, backend = dispatch.backend_named, emulated()[0]

    def either(name):
        return backend if name == "cuda" else named(name)

    monkeypatch.setattr(dispatch, "backend_named", either)
    monkeypatch.setattr(implementations, "backend_named", either)
    case = next(cases.cases(quick=True, picture="in.png"))
    for stage in cases.STAGES:
        works = implementations.entrants(case, stage, ["cpu", "cuda"])
        rows = contest(case.values, works, budget=0, turns=(1, 1), settle=0)
        assert [row.name for row in rows] == ["fastseg cpu", "fastseg cuda", "scikit-learn"]
        assert [row.verdict.equal_labels for row in rows] == [1.0, 1.0, 1.0], stage


def series(name, **seconds):
    """Contests of a series in which each implementation took so long for the sizes."""
    judged = Judge(POINTS).verdict(Answer(RIGHT), SAME)
    first = next(iter(seconds.values()))
    sizes = 10 ** np.arange(3, 3 + len(first))
    return [
        suite.Contest(name, "x", "fit", int(n), 3, 8, "uint8", [
            Row(who, judged, Spread(*[t[i]] * 3), Spread(*[t[i] / first[i]] * 3), t[i], 3, None)
            for who, t in seconds.items()
        ])
        for i, n in enumerate(sizes)
    ]  # fmt: skip


def test_crossings_lie_between_sizes_by_power_laws():
    found = suite.crossings(series("pixels", cpu=[1.0, 10.0, 100.0], cuda=[4.0, 4.0, 4.0]))
    assert [(one.slower, one.faster) for one in found] == [("cpu", "cuda")]
    assert found[0].n_points == pytest.approx(4000)
    assert suite.crossings(series("pixels", cpu=[1.0, 2.0], cuda=[2.0, 3.0])) == []


def test_a_loss_is_said():
    measured = suite.Measured({}, True, {}, series("picture", cpu=[2.0], peer=[1.0]), [], None, [])
    assert words.verdicts(measured) == [
        "x, k=8: peer is the fastest with 1 s; cpu takes 2 times as long"
    ]


def test_sentences_and_tables_tell_the_same_ratio():
    contest_ = series("picture", cpu=[2.0], peer=[3.0])[0]
    turns = replace(contest_.rows[1], ratio=Spread(1.9, 1.8, 2.1))  # not that of the medians
    measured = suite.Measured(
        {}, True, {}, [replace(contest_, rows=[contest_.rows[0], turns])], [], None, []
    )
    assert words.cells(turns)[3] == "1.9"
    assert words.verdicts(measured)[0].endswith("peer takes 1.9 times as long")


def test_numbers_have_three_digits_and_no_powers_of_ten():
    assert [words.time_words(s) for s in (8.438e-6, 9.999e-4, 0.0012, 1234.5)] == [
        "8.44 us", "1,000 us", "1.2 ms", "1,234 s",
    ]  # fmt: skip
    assert words.spread_words(Spread(9e-4, 7e-4, 1.3e-3)) == "700-1,300"
    assert [words.size_words(n) for n in (None, 4096, 1.5e6, 2.34567e9)] == [
        "-", "4.1 kB", "1.5 MB", "2,346 MB",
    ]  # fmt: skip


# Machine


def test_a_load_is_told():
    facts = {"load": 1.2, "cores": 2}
    assert machine.is_busy(facts)
    assert not machine.is_busy(facts | {"load": 0.1})
    assert not machine.is_busy(facts | {"load": None})


def test_facts_are_strict_json():
    facts = machine.facts(2)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["threads"] == 2
    assert {"fastseg", "numpy", "numba", "scikit-learn"} <= facts["versions"].keys()


def test_roofs_are_rates_of_a_processor():
    assert roofs.fma_rate(32, 1, runs=1) > 1e8
    assert roofs.copy_rate(1, n_bytes=2**23, runs=1) > 1e8


def test_rates_count_what_must_be_done():
    rate = Rate("cpu", "assign", 1000, 3, 8, 0.5)
    assert (rate.operations, rate.bytes, rate.name) == (48_000, 16_000, "1 k x 3, k=8")
    kernels = [(rate.kernel, rate.seconds > 0) for rate in measure_rates([(500, 3, 4)], runs=1)]
    assert kernels == [("accumulate", True), ("assign", True)]


# The command


def run(capsys, *args):
    assert main(list(args)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_command_writes_a_table_results_and_a_page(reported):
    out, folder, measured = reported
    results = json.loads((folder / "results.json").read_text())
    assert results == json.loads(json.dumps(measured.as_dict()))
    stages = [(one["series"], one["stage"]) for one in results["contests"]]
    assert stages == [
        *(("picture", stage) for stage in ("file", "fit", "assign")),
        ("pixels", "fit"), ("pixels", "fit"), ("clusters", "fit"), ("clusters", "fit"),
        ("points", "fit"), ("points", "assign"),
    ]  # fmt: skip
    for one in results["contests"]:
        assert [row["name"] for row in one["rows"]] == ["fastseg cpu", "scikit-learn"]
        assert all(row["verdict"]["agrees"] for row in one["rows"])
    assert "a<b>&.png, 851 px, k=8" in out
    assert "written: report/results.json" in out.replace("\\", "/")


def test_the_command_can_print_json(small, capsys, monkeypatch):
    monkeypatch.setattr(suite, "cases", lambda **_: [])
    found = json.loads(run(capsys, "bench", "--quick", "--image", "in.png", "--json"))
    assert found["quick"] is True
    assert found["machine"]["cores"] >= 1


class Reader(HTMLParser):
    """Tags that are open, addresses that are named, and texts."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_whole_and_loads_nothing(reported):
    _, folder, measured = reported
    html = (folder / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert not re.search(r"<(script|link)|@import|url\(", html)
    drawings = [a.removeprefix("data:image/svg+xml;base64,") for a in reader.addresses]
    assert len(drawings) == 3
    for drawing in drawings:
        root = ElementTree.fromstring(base64.b64decode(drawing))
        assert root.tag.endswith("}svg")
    text = " ".join(reader.texts)
    assert "a<b>&.png, 851 px" in text
    for contest_ in measured.contests:
        for cell in words.cells(contest_.rows[1]):
            assert cell in text


def test_crossings_are_marked_in_the_plot(small):
    times = {"fastseg cpu": [1.0, 10.0], "fastseg cuda": [4.0, 4.0]}
    contests = [one for name in ("pixels", "clusters") for one in series(name, **times)]
    measured = suite.Measured(
        machine.facts(), True, {}, contests, suite.crossings(contests), None, []
    )
    html = page(measured)
    drawing = re.search(r"base64,([^\"]+)", html).group(1)
    assert re.search(r"<text[^>]*>A</text>", base64.b64decode(drawing).decode())
    words_ = "A: from 0.004 megapixels fastseg cuda is faster than fastseg cpu"
    assert html.count(words_) == 2  # beside the plot, too
    assert "fastseg cuda: 4 s for 1,000 pixels to 4 s for 10,000" in html


def test_a_page_can_be_made_where_no_time_is_told(small):
    contests = [
        replace(one, rows=[replace(row, seconds=None, ratio=None) for row in one.rows])
        for name in ("pixels", "clusters", "picture") for one in series(name, cpu=[1.0, 2.0])
    ]  # fmt: skip
    measured = suite.Measured(machine.facts(), True, {}, contests, [], None, [])
    html = page(measured)
    assert "<img" not in html
    assert "6 times are not told, because answers differ" in html


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--image", "in.png", "--max-pixels", "800"], 1, r"851 pixels .* --max-pixels 851"),
        (["--backends", "gpu"], 2, r"backends must be some of cpu, cuda, got 'gpu'"),
        (["--image", "none.png"], 1, r"none\.png"),
        (["--image", ""], 1, r"no such file"),
        (["--image", "flat.png"], 1, r"1 distinct values, and to time 8 clusters takes more"),
        (["--out", "in.png"], 1, r"in\.png: is a file, or in one; give the name of a folder"),
        (["--out", "in.png/report"], 1, r"report: is a file, or in one"),
        (["--out", ""], 1, r"empty name; give it a name"),
    ],
)
def test_wrong_input_is_refused_in_a_line(small, capsys, args, code, message):
    pillow.fromarray(np.zeros((5, 5, 3), np.uint8)).save("flat.png")
    assert main(["bench", "--quick", *args]) == code
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert err.strip().count("\n") == 0


def test_a_failure_leaves_no_empty_folder(small, capsys):
    assert main(["bench", "--quick", "--image", "none.png", "--out", "report"]) == 1
    assert not (small / "report").exists()


def test_results_are_not_replaced_unasked(small, capsys):
    (small / "report").mkdir()
    (small / "report" / "results.json").write_text("mine")
    assert main(["bench", "--quick", "--image", "in.png", "--out", "report"]) == 1
    assert "results.json" in capsys.readouterr().err
    assert (small / "report" / "results.json").read_text() == "mine"
