"""Work on parts of an image wherever Dask computes: threads here, processes, or many machines.

A part is a tuple of what a function is called with: delayed blocks, or plain values. Results
are merged in a tree whose shape depends on the number of parts alone, so that sums of floats
do not depend on workers, and no task holds more than a few results.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any
from uuid import uuid4

from ..kernels.backend import Tick

Part = tuple[Any, ...]
# Merges results, one or more.
Merge = Callable[[list[Any]], Any]

# Results that a task of the tree merges.
_FAN_IN = 4
# Seconds between two looks for Ctrl-C and at a callback, while workers compute.
_PATIENCE = 0.1


@dataclass(frozen=True)
class _Job:
    """A function and what it takes beside a part; sent to a worker once, not with every task."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def _do(job: _Job, *part: Any) -> Any:
    return job.function(*part, *job.arguments)


def joined(lists: list[list[Any]]) -> list[Any]:
    """Merge lists of results into one, in the order of the parts."""
    return [result for each in lists for result in each]


def check_backend(backend: str) -> None:
    """Refuse a backend by name: workers compute on their processors."""
    if backend not in ("auto", "cpu"):
        raise ValueError(
            f"backend={backend!r} is not for dask arrays, which the workers' processors compute;"
            " leave backend out"
        )


class Cluster:
    """Where Dask computes by default, as its client and configuration say."""

    def __init__(self, client: Any = None) -> None:
        from dask.base import get_scheduler

        self._client = client
        if client is None:
            # The function of a scheduler that is a cluster is a method of its client.
            owner = getattr(get_scheduler(), "__self__", None)
            self._client = owner if hasattr(owner, "scheduler_info") else None

    @property
    def is_remote(self) -> bool:
        """Whether there are workers of `distributed`, which hold what is kept."""
        return self._client is not None

    def reduce(
        self,
        parts: Sequence[Part],
        function: Callable[..., Any],
        merge: Merge,
        *arguments: Any,
        tick: Tick | None = None,
    ) -> Any:
        """Merged results of ``function(*part, *arguments)`` of all parts; waits for them.

        ``tick`` is called with (tasks done, tasks), as far as the client knows of them.
        """
        from dask.delayed import Delayed

        name, graph, level = _layer(parts, function, arguments)
        number = 0
        while len(level) > 1 or number == 0:
            groups = [level[i : i + _FAN_IN] for i in range(0, len(level), _FAN_IN)]
            level = [f"{name}-merge-{number}-{i}" for i in range(len(groups))]
            graph |= {key: (merge, group) for key, group in zip(level, groups, strict=True)}
            number += 1
        root = Delayed(level[0], _graph(graph, parts))
        return self._compute(root, len(graph), tick)

    def keep(
        self, parts: Sequence[Part], function: Callable[..., Any], *arguments: Any, held: bool
    ) -> list[Part]:
        """Results of ``function(*part, *arguments)`` as parts, which stay where they are.

        Where they are not ``held``, they are computed anew whenever they are used.
        """
        from dask.delayed import Delayed

        name, tasks, keys = _layer(parts, function, arguments)
        graph = _graph(tasks, parts)
        if not held:
            return [(Delayed(key, graph),) for key in keys]
        if self._client is not None:
            return [(future,) for future in self._client.get(graph, keys, sync=False)]
        root = f"{name}-all"
        return [(result,) for result in Delayed(root, {**graph, root: (list, keys)}).compute()]

    def _compute(self, root: Any, n_tasks: int, tick: Tick | None) -> Any:
        if self._client is None:
            with _ticking(tick, n_tasks):
                return root.compute()
        future = self._client.compute(root)
        try:
            done = Event()
            future.add_done_callback(lambda _: done.set())
            # Waits for moments, between which Ctrl-C is answered.
            while not done.wait(_PATIENCE):
                if tick is not None:
                    tick(0, n_tasks)
            return future.result()
        finally:
            future.cancel()


@contextmanager
def _ticking(tick: Tick | None, n_tasks: int) -> Iterator[None]:
    """Tell of the tasks that threads or processes of this machine have done."""
    from dask.callbacks import Callback

    if tick is None:
        yield
        return
    done = itertools.count(1)
    with Callback(posttask=lambda *_: tick(min(next(done), n_tasks), n_tasks)):
        yield


def _layer(
    parts: Sequence[Part], function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[str, dict[str, Any], list[str]]:
    """Name and tasks of one layer of a graph, and the keys of the results, part by part."""
    name = f"fastseg-{function.__name__.strip('_')}-{uuid4().hex}"
    graph: dict[str, Any] = {f"{name}-job": _Job(function, arguments)}
    keys = [f"{name}-{i}" for i in range(len(parts))]
    for key, part in zip(keys, parts, strict=True):
        given = (each.key if _is_elsewhere(each) else each for each in part)
        graph[key] = (_do, f"{name}-job", *given)
    return name, graph, keys


def _is_elsewhere(each: Any) -> bool:
    """Whether a value of a part is a delayed one, or a future of a worker's, known by its key."""
    return hasattr(each, "key") and (hasattr(each, "add_done_callback") or hasattr(each, "dask"))


def _graph(tasks: dict[str, Any], parts: Sequence[Part]) -> dict[Any, Any]:
    """Tasks with those of the parts, in one layer: thousands of layers take their time."""
    layers: dict[Any, Any] = {}
    graph: dict[Any, Any] = {}
    for each in (each for part in parts for each in part if _is_elsewhere(each)):
        if hasattr(each, "dask"):
            inner = each.dask
            layers |= getattr(inner, "layers", {id(inner): inner})
        else:
            graph[each.key] = each
    for layer in layers.values():
        graph |= layer
    return graph | tasks
