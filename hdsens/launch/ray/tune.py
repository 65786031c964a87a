"""Train packs on Ray Tune: one trial a pack. Workers write results; the driver only counts.

One Tune run is open as long as the executor, in a thread of its own, and takes packs as they come:
docs/decisions/executor.md.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

# Read when ray is imported. Workers stay in the folder where they were started, and Tune neither
# logs each result to files, nor snapshots its driver often, nor prints beside our progress bar, nor
# takes Ctrl-C, nor waits for minutes for workers that it stops: the store is what a run leaves.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "15")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# Trials that wait for a worker at a time, as Tune itself has them for a grid.
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "200")

import ray
from ray import tune

from hdsens.errors import InputError, StoppedError
from hdsens.launch.executor import Executor, FinishedPack, Means, Show
from hdsens.launch.ray.cluster import GONE, Watch, open_cluster, reservation
from hdsens.launch.ray.deaths import after_death
from hdsens.launch.ray.feed import Feed, KeepsWorkers, Order, Submission
from hdsens.launch.ray.memory_kills import is_memory_kill, memory_kills_as_deaths
from hdsens.launch.ray.reports import ClusterGoneError, Report, Reporter, TuningEnded
from hdsens.launch.ray.trial import PackTrial, Shared
from hdsens.launch.resources import Resources
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish, choose_packs

LOOK_EVERY_S = 0.5
"""Seconds between two looks at the cluster while no trial reports."""

NO_MEMORY = (
    "a worker was killed because its node ran out of memory; what is finished is kept, and the "
    "same command again goes on from here: let fewer packs train at a time with --cpus-per-pack"
)
_log = logging.getLogger(__name__)


@contextmanager
def ray_executor(means: Means) -> Iterator[Executor]:
    """Connect to a cluster, and train packs as trials of one Tune run there.

    Raises:
        InputError: no cluster answers at the address, or none of its nodes can hold a pack.
        StoppedError: the cluster is gone, or the store cannot be written.
    """
    with open_cluster(means.address) as watch:
        means.interrupts.listen()  # ray.init took SIGTERM
        executor = RayExecutor(means, reservation(means.resources), watch)
        try:
            yield executor
        finally:
            executor.close()


class RayExecutor(Executor):
    """Feeds the trials of a Tune run, and follows what they report.

    Args:
        means: study, store, what a pack may use.
        reserved: what Ray reserves for a pack.
        watch: over the cluster.
    """

    def __init__(self, means: Means, reserved: Mapping[str, float], watch: Watch) -> None:
        self._means, self._reserved, self._watch = means, reserved, watch
        self._feed = Feed()
        self._reports: SimpleQueue[Report | TuningEnded] = SimpleQueue()
        self._tuning: threading.Thread | None = None
        self._open: set[Submission] = set()
        self._reported: dict[Order, Counter[str]] = {}
        self._over: set[Order] = set()
        self._ended: Counter[str] = Counter()

    def arrange(self, cells: Sequence[Cell], size: int | None, wish: PathWish) -> tuple[Pack, ...]:
        """Arrange cells in packs by measuring on a worker."""
        assert self._tuning is None, "workers hold the cluster by now"
        means, reserved = self._means, self._reserved
        remote = ray.remote(num_cpus=reserved["cpu"], num_gpus=reserved["gpu"], max_retries=0)(
            _arrange
        )
        given = (means.study.model_dump_json(), cells, means.resources, size)
        try:
            packs: tuple[Pack, ...] = ray.get(remote.remote(*given, wish, _import_path()))
        except ray.exceptions.RayError as error:  # the worker died: training will say why
            cause = getattr(error, "cause", None)
            if isinstance(cause, InputError):
                raise cause from None
            _log.warning("nothing was measured, the plain loop trains: %s", error)
            return _arrange(*given, "plain", ())
        return packs

    def submit(self, pack: Pack) -> None:
        """Queue a pack; the first one starts the Tune run."""
        if self._tuning is None:
            self._tuning = threading.Thread(target=self._tune, name="hdsens-tune", daemon=True)
            self._tuning.start()
        submission = Submission(pack, {pack.pack_id})
        self._open.add(submission)
        self._feed.put(Order(pack, submission))

    def finished(self, show: Show = lambda ended: None) -> Iterator[FinishedPack]:
        """Yield packs in the order in which they end."""
        while self._open:
            report = self._next_report()
            with self._means.interrupts.held():
                self._take(report)
            show(+self._ended)
            submission = report.order.submission
            if submission in self._open and not submission.open_parts:
                self._open.remove(submission)
                yield FinishedPack(submission.pack, +submission.ended)

    def close(self) -> None:
        """End the Tune run; its workers store finished cells and checkpoints."""
        if self._tuning is None:
            return
        if self._open:
            self._feed.stop()
        else:
            self._feed.close()
        try:
            with self._means.interrupts.held():
                self._tuning.join()
        except KeyboardInterrupt:
            _abandon(self._tuning)
            raise

    def _next_report(self) -> Report:
        """Wait for the next report.

        Raises:
            StoppedError: Tune's run has ended, because the cluster is gone or out of memory.
        """
        while True:
            try:
                report = self._reports.get(timeout=LOOK_EVERY_S)
            except Empty:
                if self._watch.gone:
                    raise StoppedError(GONE) from None
                continue
            if isinstance(report, Report):
                return report
            self._reports.put(report)  # whoever waits again is told again
            if isinstance(report.error, ClusterGoneError) or self._watch.look():
                raise StoppedError(GONE) from None
            if report.error is not None and is_memory_kill(report.error):
                raise StoppedError(NO_MEMORY) from None
            raise report.error or RuntimeError("Tune ended before its last trial")

    def _take(self, report: Report) -> None:
        """Count a report's cells. Where its worker died, queue what follows (`after_death`).

        Raises:
            StoppedError: its worker could not write to the store.
        """
        if report.stopped is not None:
            raise StoppedError(report.stopped)
        order, ended = report.order, Counter(report.ended)
        submission = order.submission
        if order in self._over:  # its worker died after its last report
            return
        if report.over:
            self._over.add(order)
            submission.open_parts.remove(order.pack.pack_id)
        if report.error is not None:
            sequel = after_death(self._means, order, report.error)
            ended["failed"] += sequel.failed
            for next_order in sequel.orders:
                submission.open_parts.add(next_order.pack.pack_id)
                self._feed.put(next_order)
        for counts in (self._ended, submission.ended):
            counts.update(ended)
            counts.subtract(self._reported.get(order, ()))
        self._reported[order] = ended

    def _tune(self) -> None:
        """Run Tune to its end, in its thread. What it writes of its own is thrown away."""
        error = None
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        try:
            with (
                memory_kills_as_deaths(),
                tempfile.TemporaryDirectory(prefix="hdsens-tune-") as scratch,
            ):
                self._tuner(scratch).fit()
        except BaseException as raised:  # the driver's thread raises what is to be raised
            error = raised
        self._reports.put(TuningEnded(error))

    def _tuner(self, scratch: str) -> tune.Tuner:
        means = self._means
        shared = Shared(
            study=means.study.model_dump_json(),
            folder=means.store.address,
            resources=means.resources,
            safeguards=means.safeguards,
            import_path=_import_path(),
        )
        trainable = tune.with_parameters(PackTrial, shared=shared)
        return tune.Tuner(
            tune.with_resources(trainable, dict(self._reserved)),
            tune_config=tune.TuneConfig(
                num_samples=-1,  # until the feed is closed
                search_alg=self._feed,
                scheduler=KeepsWorkers(self._feed),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=scratch,
                callbacks=[Reporter(self._feed, self._watch, self._reports)],
                # The store is the checkpoint; Tune would ask a class for one of its own.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                # Each try is a trial of its own: where a worker dies that was to be used again,
                # Tune counts two deaths for the one, and gives the trial up before its last try.
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        )


def _abandon(tuning: threading.Thread) -> None:
    """Keep Tune's thread, which nobody waits for, from starting a cluster by a call to Ray."""
    before = ray.init

    def init(*args: Any, **options: Any) -> Any:
        if threading.current_thread() is tuning:
            raise RuntimeError("this run is over")
        return before(*args, **options)

    ray.init = init


def _arrange(
    study: str,
    cells: Sequence[Cell],
    resources: Resources,
    size: int | None,
    wish: PathWish,
    import_path: Sequence[str],
) -> tuple[Pack, ...]:
    """Arrange cells in packs by measuring on the worker that runs this."""
    sys.path.extend(p for p in import_path if p not in sys.path)
    model = Study.from_json(study)
    return choose_packs(model, cells, resources.device, resources.cpus_per_pack, size, wish)


def _import_path() -> tuple[str, ...]:
    return tuple(p for p in sys.path if p)
