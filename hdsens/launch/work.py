"""Train one pack and store its results: the part of an executor that all executors share."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter

import torch

from hdsens.errors import StoppedError
from hdsens.launch.resources import Resources, Safeguards
from hdsens.store import Store
from hdsens.store.checkpoints import delete_checkpoint, find_checkpoint, write_checkpoint
from hdsens.study import Study
from hdsens.study.packs import Pack
from hdsens.training.pack import PackTraining
from hdsens.version import __version__

PAUSES_S = (0.5, 2.0, 5.0)
"""Between attempts to write, so that a full disk or an absent file system has time to come back."""

VERSIONS = {"hdsens": __version__, "torch": torch.__version__}
"""A checkpoint of others would go on, but not to the same numbers."""

_log = logging.getLogger(__name__)


class Workbench:
    """Where the packs of a study train; what they have in common is loaded and measured once.

    Args:
        study: the study that the packs are of.
        store: where their results go.
        resources: where and on how much a pack trains.
        safeguards: how often to leave a checkpoint.
    """

    def __init__(
        self, study: Study, store: Store, resources: Resources, safeguards: Safeguards
    ) -> None:
        self.study, self.store = study, store
        self.resources, self.safeguards = resources, safeguards
        self._latest: PackTraining | None = None

    def begin(self, pack: Pack) -> PackWork:
        """Prepare a pack for training.

        It goes on from a checkpoint that holds some of its cells. A pack that a rival run has
        committed meanwhile is over.
        """
        done = self.store.committed(pack.cells)
        ids = [cell.cell_id for cell in pack.cells]
        training = PackTraining(
            self.study,
            () if done else pack.cells,
            self.resources.device,
            self.resources.cpus_per_pack,
            pack.path,
            snapshot=None if done else find_checkpoint(self.store.place, ids, VERSIONS),
            job=self._latest.job if self._latest else None,
        )
        self._latest = training
        return PackWork(self, pack, training)


class PackWork:
    """A pack on its way into the store: owns when it trains, checkpoints and commits.

    Args:
        bench: where it trains.
        pack: to train, also where a rival run has committed it.
        training: of its cells.
    """

    def __init__(self, bench: Workbench, pack: Pack, training: PackTraining) -> None:
        self._study, self._store = bench.study, bench.store
        self._ids = [cell.cell_id for cell in pack.cells]
        self._source, self._training = pack.source, training
        self._every_s = bench.safeguards.checkpoint_every_s or math.inf
        self._due = time.monotonic() + self._every_s
        self._between_steps = False
        self._written = 0

    @property
    def is_over(self) -> bool:
        """Whether every cell has ended."""
        return not self._training.live

    def advance(self, seconds: float) -> Counter[str]:
        """Train for so many seconds, at least one step, and count the cells that ended by outcome.

        The last cell's end commits the pack.

        Raises:
            StoppedError: the store cannot be written.
        """
        until, ended = time.monotonic() + seconds, Counter[str]()
        while not self.is_over:
            self._between_steps = False
            records = self._training.advance(min(until, self._due) - time.monotonic())
            self._between_steps = True
            ended.update(record.outcome for record in records)
            now = time.monotonic()
            if now >= self._due and not self.is_over:
                self._leave_checkpoint()
            if now >= until:
                break
        if self.is_over:
            self.commit()
        return ended

    def close(self) -> None:
        """Store the finished cells of the pack, and a checkpoint of the others.

        There is none where training was interrupted inside a step, or with checkpoints turned off.
        """
        if self._between_steps and not self.is_over and self._every_s < math.inf:
            self._leave_checkpoint()
        self._between_steps = False
        self.commit()

    def _leave_checkpoint(self) -> None:
        try:
            snapshot = self._training.snapshot()
            if snapshot is not None:
                write_checkpoint(self._store.place, self._ids, snapshot, VERSIONS)
        except Exception as error:  # a full disk, say: training is worth more than a checkpoint
            _log.warning("a checkpoint was not written: %s: %s", type(error).__name__, error)
        self._due = time.monotonic() + self._every_s

    def commit(self) -> None:
        """Write the cells that have ended; nothing happens where none is new.

        Raises:
            StoppedError: the store cannot be written, not at a later attempt either.
        """
        record = self._training.record()
        if len(record.cells) > self._written:
            for pause in (*PAUSES_S, None):
                try:
                    self._store.append(self._study, record, self._source)
                    break
                except OSError as error:
                    if pause is None:
                        raise unwritable(self._store, error) from None
                    time.sleep(pause)
            self._written = len(record.cells)
        if self._written == len(self._ids):
            delete_checkpoint(self._store.place, self._ids)


def unwritable(store: Store, error: OSError) -> StoppedError:
    """Make the error for a store that can no longer be written."""
    return StoppedError(
        f"results {str(store.folder)!r} cannot be written: {error.strerror or error}; "
        "make room or set it right, and the same command again goes on from here"
    )
