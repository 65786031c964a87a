"""What a pack may use, and what an executor is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hdsens.launch.progress import CellProgress
from hdsens.packs import Pack
from hdsens.store import Store
from hdsens.study import Study

Executor = Callable[[Study, Store, Sequence[Pack], CellProgress], None]
"""Trains packs into a store, showing progress; made by a context manager that opens its means."""


@dataclass(frozen=True)
class Resources:
    """Where and on how much a pack trains.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        cpus_per_pack: CPUs that Ray reserves, and CPU threads that a pack uses.
        gpus_per_pack: GPUs that Ray reserves, in fractions if wanted; None = one where the cluster
            has any and the device allows it.
    """

    device: str = "auto"
    cpus_per_pack: int = 1
    gpus_per_pack: float | None = None
