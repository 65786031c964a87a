"""Turn submitted packs into trials of one Tune run, which stays open for them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from hdsens.study.packs import Pack

ALL = 1 << 20
"""More workers than any cluster has."""


@dataclass(frozen=True, eq=False)
class Submission:
    """A pack as somebody submitted it, with what has become of its parts.

    Attributes:
        pack: as submitted.
        open_parts: the packs of its cells that train or wait, itself or what it was halved into.
        ended: cells that have ended, by outcome.
    """

    pack: Pack
    open_parts: set[str]
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class Order:
    """A pack that is to train in one trial.

    Attributes:
        pack: the submitted one or a part of it.
        submission: that it belongs to.
        alone: whether no other pack may train beside it.
        deaths: workers that died on it before.
    """

    pack: Pack
    submission: Submission
    alone: bool = False
    deaths: int = 0


class StoppedTuningError(RuntimeError):
    """Ends Tune's loop, which then stops its workers."""


class Feed(Searcher):
    """Suggests each waiting pack as a trial, the ones that must train alone after all others.

    The driver puts packs, and Tune asks for them in a thread of its own. With nothing to suggest it
    says so at once while trials run, and waits while none does: Tune itself would sleep a second
    before it asked again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._waiting: deque[Order] = deque()
        self._waiting_alone: deque[Order] = deque()
        self._orders: dict[str, Order] = {}
        self._running: dict[str, Order] = {}
        self._closed = self._stopped = False

    def __getstate__(self) -> dict[str, Any]:
        """Save nothing: Tune's own restore is never used."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, likewise."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, likewise."""

    def put(self, order: Order) -> None:
        """Queue a pack, which trains as soon as there is room."""
        with self._changed:
            (self._waiting_alone if order.alone else self._waiting).append(order)
            self._changed.notify()

    def close(self) -> None:
        """Take no further packs: Tune's run ends with its last trial."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def stop(self) -> None:
        """End Tune's run at once, whatever still trains or waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def check(self) -> None:
        """Raise StoppedTuningError where somebody asked to stop."""
        if self._stopped:
            raise StoppedTuningError("asked to stop")

    def order(self, trial_id: str) -> Order:
        """Return the order that a trial trains."""
        return self._orders[trial_id]

    def suggest(  # type: ignore[override] # the documented FINISHED is a str
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """Return the configuration of a new trial; None where none can begin now."""
        with self._changed:
            self._changed.wait_for(lambda: self._running or self._waits() or self._ends())
            self.check()
            order = self._next()
            if order is None:
                return Searcher.FINISHED if self._closed and not self._waits() else None
            self._running[trial_id] = self._orders[trial_id] = order
        return {"pack": ray.put(order.pack)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note that a trial has ended or was given up."""
        with self._changed:
            self._running.pop(trial_id, None)

    def _waits(self) -> bool:
        return bool(self._waiting or self._waiting_alone)

    def _ends(self) -> bool:
        return self._closed or self._stopped

    def _next(self) -> Order | None:
        if any(order.alone for order in self._running.values()):
            return None
        if self._waiting:
            return self._waiting.popleft()
        return self._waiting_alone.popleft() if self._waiting_alone and not self._running else None


class KeepsWorkers(FIFOScheduler):
    """First come, first served; a worker without a pack waits for the next one.

    Tune would keep one such worker and end the others. Where a pack must train alone they do end,
    for their memory. With a Ray that has other names they always do.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # ray's
        self._feed = feed
        self._keeps = False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Set how many idle workers Tune keeps, before it starts the first one."""
        keep = not self._feed.order(trial.trial_id).alone
        if keep != self._keeps:
            controller = getattr(tune_controller, "_tune_controller", tune_controller)
            cache = getattr(controller, "_actor_cache", None)
            if cache is not None:
                cache.increase_max(trial.placement_group_factory, by=ALL if keep else -ALL)
            self._keeps = keep
