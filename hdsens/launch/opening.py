"""Open an executor by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from hdsens.launch.executor import Executor, Means
from hdsens.launch.inline import inline_executor
from hdsens.launch.ray.address import prepare


def open_executor(name: str, means: Means) -> AbstractContextManager[Executor]:
    """Open the executor of that name, one of `EXECUTORS`. Closing it keeps finished cells.

    Raises:
        InputError: no cluster answers at the address, or none of its nodes can hold a pack.
    """
    return EXECUTORS[name](means)


def _ray_executor(means: Means) -> AbstractContextManager[Executor]:
    prepare(means.address)
    from hdsens.launch.ray.tune import ray_executor  # seconds to import

    return ray_executor(means)


EXECUTORS: Mapping[str, Callable[[Means], AbstractContextManager[Executor]]] = {
    "ray": _ray_executor,
    "inline": inline_executor,
}
