"""Reports of trials, handed from Tune's thread to the driver's."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from hdsens.launch.ray.cluster import Watch
from hdsens.launch.ray.feed import Feed, Order


@dataclass(frozen=True)
class Report:
    """A report of one trial.

    Attributes:
        order: what it trains.
        ended: cells of its pack that have ended, by outcome.
        over: whether it is the trial's last one.
        error: of its worker, where that died.
        stopped: why its worker could not write to the store.
    """

    order: Order
    ended: Mapping[str, int] = field(default_factory=dict)
    over: bool = False
    error: BaseException | None = None
    stopped: str | None = None


@dataclass(frozen=True)
class TuningEnded:
    """The report that Tune's run is over, with the error that ended it, if one did."""

    error: BaseException | None


class ClusterGoneError(BaseException):
    """The cluster is gone. Not an Exception, or Tune would clean up on a cluster that is silent."""


class Reporter(tune.Callback):
    """Passes on what Tune tells it, and ends Tune's loop where it must not go on."""

    def __init__(
        self, feed: Feed, watch: Watch, reports: SimpleQueue[Report | TuningEnded]
    ) -> None:
        self._feed, self._watch, self._reports = feed, watch, reports

    def __getstate__(self) -> dict[str, Any]:
        """Save nothing: Tune's own restore is never used."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Raise an error where the run must end."""
        if self._watch.gone:
            raise ClusterGoneError
        self._feed.check()

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Report how many of the pack's cells have ended."""
        order, over = self._feed.order(trial.trial_id), bool(result["done"])
        self._reports.put(Report(order, result["ended"], over, stopped=result.get("stopped")))

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Report that the trial's worker died; Tune's result grid does not name each such trial."""
        order = self._feed.order(trial.trial_id)
        self._reports.put(Report(order, over=True, error=_error_of(trial)))


def _error_of(trial: Trial) -> BaseException:
    """Read a trial's last error from Tune's local file; its storage has it only later."""
    kept = trial.pickled_error_file
    if kept is None or not Path(kept).exists():
        return tune.TuneError()
    error: BaseException = pickle.loads(Path(kept).read_bytes())
    return getattr(error, "cause", None) or error
