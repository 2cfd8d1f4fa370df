"""Compiling ahead: it misses nothing, and who waits for a compilation is told."""

from __future__ import annotations

import json
import signal
import threading
import time

import numpy as np
import pytest

import fastseg
from fastseg.cli import facts, main, terminal
from fastseg.kernels import compilation
from fastseg.kernels.compilation import Compilation, tell, watched
from fastseg.kernels.cpu import jit, kernel_cache, points, warm_up
from fastseg.kernels.cpu.lloyd import MAX_FEATURES

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (90, 70, 3), dtype=np.uint8)


def some_problems(*names):
    return [problem for problem in warm_up.problems([1, 3]) if problem[0] in names]


def test_every_type_and_number_of_channels_has_its_problem():
    names = [name for name, _ in warm_up.problems([1, 3])]
    assert len(names) == len(set(names)) == 17
    assert {
        "uint8, 1 feature",
        "float64, 3 features",
        f"int16, over {MAX_FEATURES} features",
    } < set(names)


def test_after_it_nothing_needs_compiling():
    jit.forget()
    points._kernel_for.cache_clear()
    for _, solve in some_problems("uint8, 3 features"):
        solve()
    told = []
    with watched(told.append):
        fastseg.segment(RGB, 3, random_state=0)
        fastseg.segment(RGB // 64, 3, init="random", max_iter=2, tol=1e9, random_state=0)
        rows = RGB.reshape(-1, 3)
        fastseg.KMeans(5, random_state=0, max_iter=100).fit(rows).predict(rows[:100])
    assert told == []


def test_a_kernel_is_told_of_when_it_is_begun_and_when_it_is_ready(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def twice(x):
        return x + x

    told = []
    with watched(told.append):
        for _ in range(2):
            jit.forget()
            assert jit.compiled(twice, jit.array("uint8"))(np.ones(2, np.uint8)).tolist() == [2, 2]
    begun, compiled, cached = told
    assert begun == Compilation("twice", None, True)
    assert compiled.compiled
    assert compiled.seconds > 0
    assert not cached.compiled
    assert compilation._watchers == ()


def test_ctrl_c_while_a_kernel_is_compiled_is_answered_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    # Where the tests were started in the background, it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    released = threading.Event()

    def thrice(x):
        return x + x + x

    def interrupt(what):
        if what.seconds is None:
            signal.raise_signal(signal.SIGINT)
            released.wait(20)

    try:
        with watched(interrupt):
            with pytest.raises(KeyboardInterrupt):
                jit.compiled(thrice, jit.array("uint8"))
            released.set()
            # It is made all the same, and this call waits for it.
            ready = jit.compiled(thrice, jit.array("uint8"))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert ready(np.ones(2, np.uint8)).tolist() == [3, 3]


def test_kernels_of_one_name_share_no_file(tmp_path, monkeypatch):
    """Else processes that compile them at once would exchange them."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def half(x):
        return x / 2

    for name in ("uint8", "float32"):
        jit.compiled(half, jit.array(name))
    assert len(list(tmp_path.rglob("*-half-*.nbc"))) == 2


@pytest.fixture
def two_problems(monkeypatch):
    """Each makes one kernel ready."""
    steps = [
        (name, lambda name=name: tell(Compilation(name, 0.5, name == "first")))
        for name in ("first", "second")
    ]
    monkeypatch.setattr(warm_up, "problems", lambda n_features: steps)


def test_info_warms_up_and_says_how_much_was_compiled(two_problems, capsys):
    assert main(["info", "--warm-up"]) == 0
    out, err = capsys.readouterr()
    assert "warm-up:         2 kernels are ready: 1 compiled, 1 read from the cache, in" in out
    assert err == ""
    assert main(["info", "--warm-up", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["warm_up"]
    assert (told["n_kernels"], told["n_compiled"]) == (2, 1)


def test_the_warm_up_tells_how_far_it_is(two_problems):
    told = []
    facts.warm_up([3], lambda *call: told.append(call))
    assert told == [
        ("compile", 0, 2, {"problem": "first"}),
        ("compile", 1, 2, {"problem": "second"}),
    ]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--warm-up", "x.png"], "--warm-up is for the machine: leave INPUT out"),
        (["--n-channels", "3"], "--n-channels says what --warm-up compiles: give both"),
        (["--warm-up", "--n-channels", "0:3"], "'0:3' goes below 1 channel"),
        (["--warm-up", "--n-channels", "1:2000"], "more than 1000 numbers of channels"),
    ],
)
def test_wrong_usage(capsys, args, words):
    assert main(["info", *args]) == 2
    assert words in capsys.readouterr().err


def test_nothing_is_compiled_that_cannot_be_kept(monkeypatch, capsys):
    monkeypatch.setattr(kernel_cache, "cache_folder", lambda: None)
    assert main(["info", "--warm-up"]) == 1
    assert "set NUMBA_CACHE_DIR" in capsys.readouterr().err


@pytest.fixture
def screen(monkeypatch):
    """A terminal, with the bar's delay already over."""
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_the_bar_says_that_kernels_are_being_compiled(screen):
    with terminal.Bar(screen, enabled=True, delay=0.0) as bar:
        bar("iterations", 0, 10, {})
        tell(Compilation("accumulate", None, True))
        time.sleep(0.3)
        assert "compiling kernels (first use)" in screen.getvalue()
        tell(Compilation("accumulate", 1.5, True))
        tell(Compilation("assign", 0.1, False))
        assert "iteration 0" not in screen.getvalue()
        time.sleep(0.3)
        assert "iteration 0" in screen.getvalue()
    assert (bar.n_compiled, bar.compile_seconds) == (1, 1.5)


@pytest.mark.parametrize(("seconds", "noted"), [(1.5, True), (0.5, False)])
def test_what_took_over_a_second_is_noted_on_a_terminal(screen, monkeypatch, seconds, noted):
    from fastseg.cli.commands import _bar

    monkeypatch.setattr("sys.stderr", screen)
    with _bar():
        tell(Compilation("accumulate", None, True))
        tell(Compilation("accumulate", seconds, True))
    assert ("compiled 1 kernels in 1.5 s" in screen.getvalue()) == noted
    assert ("--warm-up" in screen.getvalue()) == noted
