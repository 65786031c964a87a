"""One pack on its way into the store, for every executor."""

from __future__ import annotations

import time
from collections.abc import Iterator

from hdsens.errors import StoppedError
from hdsens.launch.resources import Resources
from hdsens.packs import Pack
from hdsens.records import CellRecord
from hdsens.store import Store
from hdsens.study import Study
from hdsens.training.pack import PackTraining

PAUSES_S = (0.5, 2.0, 5.0)
"""Between attempts to write, so that a full disk or an absent file system has time to come back."""


class PackWork:
    """Trains a pack and commits it; iterate to train, one record as each cell is ready.

    Args:
        study: the study that the pack is of.
        store: where its results go.
        pack: what to train.
        resources: where and on how much.
    """

    def __init__(self, study: Study, store: Store, pack: Pack, resources: Resources) -> None:
        self._study, self._store = study, store
        self._training = PackTraining(
            study, pack.cells, resources.device, resources.cpus_per_pack, pack.path
        )
        self._written = 0

    def __iter__(self) -> Iterator[CellRecord]:
        return iter(self._training)

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


def unwritable(store: Store, error: OSError) -> StoppedError:
    """The error for a store that took results before and takes none now."""
    return StoppedError(
        f"results {str(store.folder)!r} cannot be written: {error.strerror or error}; "
        "make room or set it right, and the same command again goes on from here"
    )
