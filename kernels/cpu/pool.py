"""Threads of our own, over chunks that depend on the data alone.

Numba's workqueue layer aborts the process when two threads enter it, and its
OpenMP layer when a process forks. Here kernels that release the GIL run on plain
Python threads: the caller works too, so nothing waits for a busy pool, and the
results are consumed in chunk order, so that sums never depend on scheduling.

Threads hand over by plain locks and queues in C: see `tasks`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from ..tasks import Task

T = TypeVar("T")


class _Pool:
    """Threads of this process, started when first needed and anew after a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.jobs: SimpleQueue[Task[None]] = SimpleQueue()
        self.size = 0

    def submit(self, jobs: list[Task[None]]) -> None:
        """Have the jobs done by as many threads, which serve all callers."""
        # While the interpreter shuts down, and where threads are rationed, the caller works alone.
        with suppress(RuntimeError), self.lock:
            while self.size < len(jobs):
                work = threading.Thread(
                    target=_work, args=(self.jobs,), name=f"fastseg_{self.size}", daemon=True
                )
                work.start()
                self.size += 1
        for job in jobs:
            self.jobs.put(job)


def _work(jobs: SimpleQueue[Task[None]]) -> None:
    while True:
        jobs.get().do()


_pool = _Pool()


def _forget() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class _Run(Generic[T]):
    def __init__(
        self, task: Callable[[int], T], n_chunks: int, consume: Callable[[int, T], None]
    ) -> None:
        self.task = task
        self.n_chunks = n_chunks
        self.consume = consume
        self.lock = threading.Lock()
        self.next = 0
        self.consumed = 0
        self.waiting: dict[int, T] = {}
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        with self.lock:
            self.error = self.error or error

    def work(self, tick: Callable[[int], None] | None = None) -> None:
        while True:
            with self.lock:
                if self.error is not None or self.next == self.n_chunks:
                    return
                chunk = self.next
                self.next += 1
            result = self.task(chunk)
            with self.lock:
                self.waiting[chunk] = result
                while self.consumed in self.waiting:
                    self.consume(self.consumed, self.waiting.pop(self.consumed))
                    self.consumed += 1
                consumed = self.consumed
            if tick is not None and consumed < self.n_chunks:
                tick(consumed)

    def help(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.fail(error)


def run_chunks(
    task: Callable[[int], T],
    n_chunks: int,
    n_threads: int,
    consume: Callable[[int, T], None] = lambda chunk, result: None,
    tick: Callable[[int], None] | None = None,
) -> None:
    """Call ``task(chunk)`` for every chunk, and ``consume(chunk, result)`` in chunk order.

    ``tick(chunks consumed)`` is called in the calling thread after each chunk it
    worked on, and at the end. An exception of any of the three, or Ctrl-C, stops the run after the
    chunks in work.
    """
    if n_chunks == 1:
        # Of little work the better part would be to share it.
        consume(0, task(0))
        if tick is not None:
            tick(1)
        return
    run: _Run[Any] = _Run(task, n_chunks, consume)
    n_helpers = min(n_threads, n_chunks) - 1
    helpers = [Task(run.help) for _ in range(n_helpers)]
    try:
        _pool.submit(helpers)
        run.work(tick)
    except BaseException as error:
        run.fail(error)
        raise
    finally:
        for helper in helpers:
            helper.finish()
    if run.error is not None:
        raise run.error
    if tick is not None:
        tick(n_chunks)
