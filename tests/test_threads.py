"""Our own threads: order, errors, interrupts, forks, limits."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from fastseg.kernels.cpu import CpuBackend, threads
from fastseg.kernels.cpu.points import chunk_of
from fastseg.kernels.cpu.pool import run_chunks
from fastseg.kernels.cpu.threads import resolve_n_threads


def test_results_are_consumed_in_chunk_order():
    seen = []

    def task(chunk):
        time.sleep(0.002 * (chunk % 3))
        return chunk * chunk

    run_chunks(task, 20, 4, lambda chunk, result: seen.append((chunk, result)))
    assert seen == [(i, i * i) for i in range(20)]


@pytest.mark.parametrize("n_threads", [1, 4])
def test_an_error_of_a_task_reaches_the_caller_and_stops_the_rest(n_threads):
    done = []

    def task(chunk):
        if chunk == 3:
            raise RuntimeError("chunk 3")
        time.sleep(0.001)
        done.append(chunk)

    with pytest.raises(RuntimeError, match="chunk 3"):
        run_chunks(task, 1000, n_threads)
    assert len(done) < 100


def test_a_tick_that_raises_stops_the_run():
    def tick(done):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_chunks(lambda chunk: time.sleep(0.001), 1000, 2, tick=tick)


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs raise_signal")
def test_ctrl_c_is_answered_between_chunks():
    # Where the tests were started in the background, it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_chunks(lambda chunk: time.sleep(0.005), 10_000, 2)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 5


def fit_in_child(queue):
    points = np.arange(3_000_000, dtype=np.float64).reshape(-1, 1)
    partials = CpuBackend().put(points, n_threads=2).accumulate(np.array([[0.0], [3e6]]))
    queue.put(partials.weights.tolist())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_computes_after_the_parent_has():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    fit_in_child(queue)
    mine = queue.get(timeout=60)
    child = context.Process(target=fit_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=60) == mine == [1_500_001.0, 1_499_999.0]
        child.join(timeout=60)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_many_callers_at_once_get_right_answers():
    rng = np.random.default_rng(0)
    points = rng.integers(0, 256, (600_000, 1)).astype(np.uint8)
    centers = np.array([[50.0], [200.0]])
    expected = CpuBackend().put(points, n_threads=1).accumulate(centers)
    wrong = []

    def work():
        for _ in range(5):
            partials = CpuBackend().put(points, n_threads=3).accumulate(centers)
            if not np.array_equal(partials.sums, expected.sums):
                wrong.append(partials)

    callers = [threading.Thread(target=work) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert not wrong


class TestNumberOfThreads:
    @pytest.fixture(autouse=True)
    def no_limit(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    @pytest.mark.parametrize(("limit", "n"), [("1", 1), ("2,1", 2), (" 3 ", 3), ("99", 4)])
    def test_the_share_that_joblib_and_dask_give_a_worker_is_the_most(self, monkeypatch, limit, n):
        monkeypatch.delenv("FASTSEG_NUM_THREADS", raising=False)
        monkeypatch.setattr(threads, "usable_threads", lambda: 4)
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        assert resolve_n_threads(None) == n
        assert resolve_n_threads(-1) == 4
        assert resolve_n_threads(7) == 7

    @pytest.mark.parametrize("limit", ["", "0", "-1", "many", "²"])
    def test_what_openmp_does_not_understand_is_no_limit(self, monkeypatch, limit):
        monkeypatch.delenv("FASTSEG_NUM_THREADS", raising=False)
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        assert resolve_n_threads(None) == threads.usable_threads()

    def test_minus_one_and_none_mean_all(self, monkeypatch):
        monkeypatch.delenv("FASTSEG_NUM_THREADS", raising=False)
        assert resolve_n_threads(-1) == resolve_n_threads(None) == threads.usable_threads() >= 1

    def test_the_environment_sets_the_default_but_not_what_is_asked_for(self, monkeypatch):
        monkeypatch.setenv("FASTSEG_NUM_THREADS", "3")
        assert resolve_n_threads(None) == 3
        assert resolve_n_threads(5) == 5

    @pytest.mark.parametrize("n_threads", [0, -2])
    def test_zero_and_below_minus_one_are_refused(self, n_threads):
        with pytest.raises(ValueError, match=rf"n_threads must be at least 1.*{n_threads}"):
            resolve_n_threads(n_threads)

    @pytest.mark.parametrize("n_threads", [1.5, "2", True])
    def test_only_whole_numbers_are_taken(self, n_threads):
        with pytest.raises(TypeError, match="n_threads"):
            resolve_n_threads(n_threads)

    def test_a_wrong_environment_is_named(self, monkeypatch):
        monkeypatch.setenv("FASTSEG_NUM_THREADS", "many")
        with pytest.raises(ValueError, match=r"FASTSEG_NUM_THREADS.*'many'"):
            resolve_n_threads(None)

    def test_a_control_group_limits_them(self, monkeypatch):
        monkeypatch.setattr(threads, "_cgroup_quota", lambda: 0.5)
        assert threads.usable_threads() == 1


def test_one_chunk_is_done_by_the_caller_alone():
    told, threads_seen = [], []

    def task(chunk):
        threads_seen.append(threading.current_thread())
        return chunk + 7

    run_chunks(task, 1, 4, lambda *result: told.append(result), lambda done: told.append(done))
    assert threads_seen == [threading.current_thread()]
    assert told == [(0, 7), 1]


@pytest.mark.parametrize(("n", "n_chunks"), [(1000, 1), (40_011, 2), (90_011, 4)])
def test_few_points_are_shared_where_they_are_work_enough(n, n_chunks):
    points = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    centers = points[:32].astype(np.float64)
    step = chunk_of(n, 3, 32)
    assert -(-n // step) == n_chunks
    one, *others = [CpuBackend().put(points, n_threads=m).accumulate(centers) for m in (1, 2, 5)]
    for other in others:
        assert other.sums.tobytes() == one.sums.tobytes()
        assert other.inertia == one.inertia
