"""Threads that read and write; tasks are handed over to them by a queue in C, as `Task` says."""

from __future__ import annotations

import weakref
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from ..kernels.tasks import Task


class Threads:
    """So many threads at most; on leaving, what has not begun is called off, and they end."""

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._tasks: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._serving: list[Task[None]] = []

    def begin(self, task: Task[Any]) -> None:
        """Have a thread do a task; they begin in their order.

        Who needs it finished keeps it first: Ctrl-C can come right after this.
        """
        self._tasks.put(task)
        if len(self._serving) < self._n_threads:
            serving = Task(partial(_serve, self._tasks, weakref.ref(self)))
            self._serving.append(serving)
            serving.in_a_thread()

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(Empty):
            while (task := self._tasks.get_nowait()) is not None:
                task.finish()
        for _ in self._serving:
            self._tasks.put(None)
        for serving in self._serving:
            serving.finish()


def _serve(tasks: SimpleQueue[Task[Any] | None], owner: weakref.ref[Threads]) -> None:
    while owner() is not None:  # Ctrl-C can come before it has said that this is the end
        with suppress(Empty):
            task = tasks.get(timeout=1)
            if task is None:
                return
            task.do()
            del task
