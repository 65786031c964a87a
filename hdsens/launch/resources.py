"""What a pack may use of the machine, and how a run meets faults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Safeguards:
    """How a run meets faults.

    Attributes:
        max_failures: worker deaths on one pack before it is halved, or its last cell failed.
        checkpoint_every_s: seconds between two checkpoints of a pack in training; 0 for none.
    """

    max_failures: int = 2
    checkpoint_every_s: float = 300.0


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
