"""Workers that Ray kills because their node runs out of memory.

Ray gives such a death as an OutOfMemoryError, and Tune's loop ends with "unexpected exception" at
anything but a RayActorError. The private names of Ray that this takes are in this file only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

_FAILURES = ("_actor_task_failed", "_actor_start_failed")


class KilledForMemoryError(ray.exceptions.RayActorError):
    """A worker was killed before it had used up the memory of its node."""


@contextmanager
def memory_kills_as_deaths() -> Iterator[None]:
    """Let Tune treat a worker that was killed for its memory like any other dead worker.

    With a Ray that has other names nothing is changed, and `is_memory_kill` tells the error.
    """
    try:
        from ray.air.execution._internal import RayActorManager as Manager

        before = {name: getattr(Manager, name) for name in _FAILURES}
    except (ImportError, AttributeError):
        yield
        return
    for name, handle in before.items():
        setattr(Manager, name, _translated(handle))
    try:
        yield
    finally:
        for name, handle in before.items():
            setattr(Manager, name, handle)


def is_memory_kill(error: BaseException) -> bool:
    """Whether the error, or its cause, is a worker that was killed for its memory."""
    kinds = (KilledForMemoryError, ray.exceptions.OutOfMemoryError)
    return isinstance(error, kinds) or isinstance(error.__cause__, kinds)


def _translated(handle: Callable[..., None]) -> Callable[..., None]:
    def handled(manager: Any, *, exception: Exception, **subject: Any) -> None:
        if isinstance(exception, ray.exceptions.OutOfMemoryError):
            exception = KilledForMemoryError(error_msg=str(exception))
        handle(manager, exception=exception, **subject)

    return handled
