"""One pack on its way into the store, for every executor."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence

import torch

from hdsens.errors import StoppedError
from hdsens.launch.resources import Resources, Safeguards
from hdsens.records import CellRecord, Snapshot
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


class PackWork:
    """Trains a pack and commits it; iterate to train, one record as each cell is ready.

    It goes on from a checkpoint that holds some of its cells, and leaves one at intervals. A pack
    that a rival run has committed meanwhile is not trained again.

    Args:
        study: the study that the pack is of.
        store: where its results go.
        pack: what to train.
        resources: where and on how much.
        safeguards: how often to leave a checkpoint.
    """

    def __init__(
        self, study: Study, store: Store, pack: Pack, resources: Resources, safeguards: Safeguards
    ) -> None:
        self._study, self._store = study, store
        self._ids = [cell.cell_id for cell in pack.cells]
        every_s = safeguards.checkpoint_every_s
        done = store.committed(pack.cells)
        self._training = PackTraining(
            study,
            () if done else pack.cells,
            resources.device,
            resources.cpus_per_pack,
            pack.path,
            snapshot=None if done else find_checkpoint(store.place, self._ids, VERSIONS),
            keep=self._keep if every_s > 0 else None,
            keep_every_s=every_s,
        )
        self._written = 0

    def __iter__(self) -> Iterator[CellRecord]:
        return iter(self._training)

    def by_steps(self) -> Generator[Sequence[CellRecord], None, None]:
        """Train; as `PackTraining.by_steps`: closed between two steps it leaves a checkpoint."""
        return self._training.by_steps()

    def _keep(self, snapshot: Snapshot) -> None:
        write_checkpoint(self._store.place, self._ids, snapshot, VERSIONS)

    def commit(self) -> None:
        """Write the cells that are ready; nothing happens where there is nothing new.

        Raises:
            StoppedError: the store cannot be written, not at a later attempt either.
        """
        record = self._training.record()
        if len(record.cells) > self._written:
            for pause in (*PAUSES_S, None):
                try:
                    self._store.append(self._study, record)
                    break
                except OSError as error:
                    if pause is None:
                        raise unwritable(self._store, error) from None
                    time.sleep(pause)
            self._written = len(record.cells)
        if self._written == len(self._ids):
            delete_checkpoint(self._store.place, self._ids)


def unwritable(store: Store, error: OSError) -> StoppedError:
    """The error for a store that took results before and takes none now."""
    return StoppedError(
        f"results {str(store.folder)!r} cannot be written: {error.strerror or error}; "
        "make room or set it right, and the same command again goes on from here"
    )
