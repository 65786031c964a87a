"""Train packs on Ray Tune: one trial a pack. Workers write results; the driver only counts."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

import ray
from ray import tune
from ray.tune.experiment import Trial

from hdsens.errors import InputError, StoppedError
from hdsens.launch.executor import Executor
from hdsens.launch.interrupts import Interrupts
from hdsens.launch.progress import CellProgress
from hdsens.launch.ray.cluster import GONE, Watch, open_cluster, reservation
from hdsens.launch.ray.deaths import Lost, next_round
from hdsens.launch.ray.memory_kills import is_memory_kill, memory_kills_as_deaths
from hdsens.launch.ray.trial import PackTrial, Shared
from hdsens.launch.resources import Resources, Safeguards
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish, choose_packs

NO_MEMORY = (
    "a worker was killed because its node ran out of memory; what is finished is kept, and the "
    "same command again goes on from here: let fewer packs train at a time with --cpus-per-pack"
)
_log = logging.getLogger(__name__)


@contextmanager
def ray_executor(
    resources: Resources, address: str | None, safeguards: Safeguards, interrupts: Interrupts
) -> Iterator[Executor]:
    """Connect to a cluster, and give what trains packs as trials of Tune runs there.

    Args:
        resources: reserved for each pack.
        address: of a running cluster; None starts one on this machine.
        safeguards: what becomes of a pack whose worker dies.
        interrupts: ask for a stop.

    Raises:
        InputError: no cluster answers at the address, or none of its nodes can hold a pack.
        StoppedError: the cluster is gone, or the store cannot be written.
    """
    with open_cluster(address) as watch:
        interrupts.listen()  # ray.init took SIGTERM
        reserved = reservation(resources)

        def train(
            study: Study, store: Store, packs: Sequence[Pack], progress: CellProgress
        ) -> None:
            tuned = _Tuned(study, store, resources, reserved, safeguards)
            loop = _Loop(progress, interrupts, watch)
            alone = False
            while packs:  # in further rounds: halves of what killed its workers
                lost = tuned.lost(packs, loop, alone=alone)
                crowded = not alone and any(is_memory_kill(error) for _, error in lost)
                packs = next_round(study, store, lost, safeguards.max_failures, crowded=crowded)
                alone = alone or crowded

        def arrange(
            study: Study, cells: Sequence[Cell], size: int | None, path: PathWish
        ) -> tuple[Pack, ...]:
            remote = ray.remote(num_cpus=reserved["cpu"], num_gpus=reserved["gpu"], max_retries=0)(
                _arrange
            )
            given = (study.model_dump_json(), cells, resources, size, path, _import_path())
            try:
                packs: tuple[Pack, ...] = ray.get(remote.remote(*given))
            except ray.exceptions.RayError as error:  # the worker died: training will say why
                cause = getattr(error, "cause", None)
                if isinstance(cause, InputError):
                    raise cause from None
                _log.warning("nothing was measured, the plain loop trains: %s", error)
                return _arrange(given[0], cells, resources, size, "plain", ())
            return packs

        yield Executor(arrange, train)


def _arrange(
    study: str,
    cells: Sequence[Cell],
    resources: Resources,
    size: int | None,
    wish: PathWish,
    import_path: Sequence[str],
) -> tuple[Pack, ...]:
    """Measure on a worker, as what trains there will run."""
    sys.path.extend(p for p in import_path if p not in sys.path)
    model = Study.model_validate_json(study)
    return choose_packs(model, cells, resources.device, resources.cpus_per_pack, size, wish)


def _import_path() -> tuple[str, ...]:
    return tuple(p for p in sys.path if p)


@dataclass(frozen=True)
class _Tuned:
    """Tune runs over packs of a study."""

    study: Study
    store: Store
    resources: Resources
    reserved: Mapping[str, float]
    safeguards: Safeguards

    def lost(self, packs: Sequence[Pack], loop: _Loop, *, alone: bool) -> list[Lost]:
        """Train each pack in a trial; the packs that Tune gave up.

        What Tune writes of its own is thrown away.

        Args:
            packs: to train.
            loop: that follows them.
            alone: one at a time, so that none is killed for the memory of another.
        """
        shared = Shared(
            study=self.study.model_dump_json(),
            folder=self.store.address,
            packs={pack.pack_id: pack for pack in packs},
            resources=self.resources,
            safeguards=self.safeguards,
            path=_import_path(),
        )
        trainable = tune.with_parameters(PackTrial, shared=shared)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with tempfile.TemporaryDirectory(prefix="hdsens-tune-") as scratch:
            tuner = tune.Tuner(
                tune.with_resources(trainable, dict(self.reserved)),
                param_space={"pack": tune.grid_search([pack.pack_id for pack in packs])},
                tune_config=tune.TuneConfig(
                    reuse_actors=True, max_concurrent_trials=1 if alone else None
                ),
                run_config=tune.RunConfig(
                    name="run",
                    storage_path=scratch,
                    callbacks=[loop],
                    # The store is the checkpoint; Tune would ask a class for one of its own.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(
                        max_failures=self.safeguards.max_failures - 1
                    ),
                    verbose=0,
                ),
            )
            return [
                (shared.packs[trial.config["pack"]], _error_of(trial))
                for trial in loop.follow(tuner)
            ]


def _error_of(trial: Trial) -> BaseException:
    error: BaseException = trial.get_pickled_error() or trial.get_error() or tune.TuneError()
    return getattr(error, "cause", None) or error


class _ClusterGoneError(BaseException):
    """Not an Exception, so that Tune does not clean up on a cluster that does not answer."""


class _Loop(tune.Callback):
    """Adds up what the trials report, and ends Tune's loop where it must not go on."""

    def __init__(self, progress: CellProgress, interrupts: Interrupts, watch: Watch) -> None:
        self._progress, self._interrupts, self._watch = progress, interrupts, watch
        self._ended: dict[str, Mapping[str, int]] = {}
        self._given_up: list[Trial] = []
        self._stopped: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for a restore of its own, which is never used."""
        return {}

    def follow(self, tuner: tune.Tuner) -> Sequence[Trial]:
        """Run to the end, unless something ends it before; the trials that Tune gave up.

        Its result grid would not do: a trial whose worker died as it started has no name there.

        Raises:
            KeyboardInterrupt: a signal asked for it; finished cells are written.
            StoppedError: the cluster is gone or out of memory, or a worker could not write.
        """
        self._given_up = []
        try:
            with self._interrupts.held(), memory_kills_as_deaths():
                tuner.fit()
        except _ClusterGoneError:
            raise StoppedError(GONE) from None
        except Exception as error:
            self._interrupts.check()
            if self._stopped is None and self._watch.look():
                raise StoppedError(GONE) from None
            if self._stopped is None and is_memory_kill(error):
                raise StoppedError(NO_MEMORY) from None
            if self._stopped is None:
                raise
        if self._stopped is not None:
            raise StoppedError(self._stopped)
        return self._given_up

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._watch.gone:
            raise _ClusterGoneError
        if self._interrupts.asked or self._stopped is not None:
            raise RuntimeError("asked to stop")

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if "stopped" in result:
            self._stopped = result["stopped"]
        self._show(trial, result["ended"])

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._show(trial, {})

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._given_up.append(trial)
        self._show(trial, {})

    def _show(self, trial: Trial, ended: Mapping[str, int]) -> None:
        self._ended[trial.trial_id] = ended
        self._progress.show(sum(map(Counter, self._ended.values()), Counter()))
