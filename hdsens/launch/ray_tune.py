"""Train packs on Ray Tune: one trial a pack. Workers write results; the driver only counts."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Read when ray is imported. No usage report leaves the machine, workers stay in the folder where
# they were started, and Tune neither logs each result to files, nor snapshots its driver often, nor
# prints beside our progress bar: the store is what a run leaves behind.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import ray
from ray import tune
from ray.tune.experiment import Trial

from hdsens.cells import Cell
from hdsens.errors import InputError
from hdsens.launch.address import no_answer
from hdsens.launch.progress import CellProgress
from hdsens.launch.resources import Executor, Resources
from hdsens.packs import Pack
from hdsens.records import PackRecord, failure
from hdsens.store import Store
from hdsens.study import Study
from hdsens.training.choice import PathWish, choose_packs
from hdsens.training.pack import PackTraining

_log = logging.getLogger(__name__)
REPORT_EVERY_S = 2.0
MAX_FAILURES = 2
"""How often a pack whose worker died is tried again."""


@contextmanager
def ray_executor(resources: Resources, address: str | None) -> Iterator[Executor]:
    """Connect to a cluster, and give what trains packs as trials of one Tune run there.

    Args:
        resources: reserved for each pack.
        address: of a running cluster; None starts one on this machine.

    Raises:
        InputError: no cluster answers at the address, or none of its nodes can hold a pack.
    """
    with _cluster(address):
        reservation = _reservation(resources)

        def train(
            study: Study, store: Store, packs: Sequence[Pack], progress: CellProgress
        ) -> None:
            shared = _Shared(
                study=study.model_dump_json(),
                folder=store.address,
                packs={pack.pack_id: pack for pack in packs},
                resources=resources,
                path=_import_path(),
            )
            trainable = tune.with_parameters(PackTrial, shared=shared)
            results = _fit(tune.with_resources(trainable, reservation), packs, progress)
            _write_lost(study, store, packs, _lost(results))

        def arrange(
            study: Study, cells: Sequence[Cell], size: int | None, path: PathWish
        ) -> tuple[Pack, ...]:
            remote = ray.remote(
                num_cpus=reservation["cpu"], num_gpus=reservation["gpu"], max_retries=0
            )(_arrange)
            given = (study.model_dump_json(), cells, resources, size, path, _import_path())
            try:
                packs: tuple[Pack, ...] = ray.get(remote.remote(*given))
            except ray.exceptions.RayError as error:  # the worker died: training will say why
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


def _fit(trainable: Any, packs: Sequence[Pack], progress: CellProgress) -> tune.ResultGrid:
    """One Tune run with a trial for each pack; what it writes of its own is thrown away."""
    with tempfile.TemporaryDirectory(prefix="hdsens-tune-") as scratch:
        tuner = tune.Tuner(
            trainable,
            param_space={"pack": tune.grid_search([pack.pack_id for pack in packs])},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name="run",
                storage_path=scratch,
                callbacks=[_Counter(progress)],
                # The store is the checkpoint; Tune would ask a class for one at each trial's end.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                verbose=0,
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        return tuner.fit()


@dataclass(frozen=True)
class _Shared:
    """What all trials have in common, sent once."""

    study: str
    folder: str
    packs: Mapping[str, Pack]
    resources: Resources
    path: Sequence[str]


class PackTrial(tune.Trainable):
    """Trains one pack; each `step` trains cells for about two seconds and reports counts."""

    def setup(  # type: ignore[override] # how tune.with_parameters hands things over
        self, config: dict[str, Any], shared: _Shared
    ) -> None:
        """Take what all trials share, then the trial's own pack."""
        sys.path.extend(p for p in shared.path if p not in sys.path)
        self._shared = shared
        self._study = Study.model_validate_json(shared.study)
        self._store = Store(shared.folder)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack: actors are reused, so that data stay loaded."""
        pack, resources = self._shared.packs[new_config["pack"]], self._shared.resources
        self._training = PackTraining(
            self._study, pack.cells, resources.device, resources.cpus_per_pack, pack.path
        )
        self._records = iter(self._training)
        self._ended: Counter[str] = Counter()
        self._written = False
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while; the pack's parts are written with its last cell."""
        deadline = time.monotonic() + REPORT_EVERY_S
        for record in self._records:
            self._ended[record.outcome] += 1
            if time.monotonic() > deadline:
                return {"ended": dict(self._ended), "done": False}
        self._write()
        return {"ended": dict(self._ended), "done": True}

    def cleanup(self) -> None:
        """Keep the finished cells of a pack that was interrupted."""
        if not self._written and self._ended:
            self._write()

    def _write(self) -> None:
        self._store.append(self._study, self._training.record())
        self._written = True


class _Counter(tune.Callback):
    """Adds up what the trials report."""

    def __init__(self, progress: CellProgress) -> None:
        self._progress = progress
        self._ended: dict[str, Mapping[str, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for a restore of its own, which is never used."""
        return {}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self._ended[trial.trial_id] = result["ended"]
        totals = sum((Counter(ended) for ended in self._ended.values()), Counter())
        self._progress.show(totals)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """The cluster at the address, or one of our own; a session that is already open is used."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise no_answer(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def _reservation(resources: Resources) -> dict[str, float]:
    """What Ray reserves for a pack.

    Raises:
        InputError: no node has as much, so that the run would wait for ever.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call] # ray's
    nodes = [node["Resources"] for node in alive]
    gpus = resources.gpus_per_pack
    if gpus is None:
        gpus = float(resources.device != "cpu" and any(node.get("GPU", 0) for node in nodes))
    wanted = {"CPU": float(resources.cpus_per_pack), "GPU": gpus}
    if not any(all(node.get(k, 0) >= n for k, n in wanted.items()) for node in nodes):
        raise InputError(
            "--cpus-per-pack, --gpus-per-pack",
            "must fit on one node of the cluster",
            wanted,
            "ask for less, or join a larger node",
        )
    return {"cpu": wanted["CPU"], "gpu": wanted["GPU"]}


def _lost(results: tune.ResultGrid) -> dict[str, BaseException]:
    """The packs that Tune gave up, by pack_id, with their last error."""
    ended = [results[i] for i in range(len(results))]
    return {
        trial.config["pack"]: getattr(trial.error, "cause", None) or trial.error
        for trial in ended
        if trial.config is not None and trial.error is not None
    }


def _write_lost(
    study: Study, store: Store, packs: Sequence[Pack], lost: Mapping[str, BaseException]
) -> None:
    """Cells of a pack that Tune gave up are failed, unless they have a result."""
    found = store.outcomes() if lost else {}
    for pack in packs:
        if pack.pack_id in lost:
            reason = lost[pack.pack_id]
            cells = tuple(failure(c, reason) for c in pack.cells if c.cell_id not in found)
            if cells:
                store.append(study, PackRecord(cells, 0.0, "unknown", study.task.dtype, "unknown"))
