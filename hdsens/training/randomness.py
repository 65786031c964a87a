"""Randomness as a function of (seed, step, purpose), never of generator state.

So a cell gives the same result alone, in any pack, on any worker and after a resume.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch


class Purpose(IntEnum):
    """What random numbers are for; the values are part of every result and never change."""

    WEIGHTS = 1
    BATCHES = 2
    FORWARD = 3
    AUGMENT = 4


def seed_for(seed: int, step: int, purpose: Purpose) -> int:
    """A 63-bit seed for a torch generator."""
    words = np.random.SeedSequence((seed, step, purpose)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def epoch_order(seed: int, epoch: int, n_examples: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch (from 0) visits the examples, `(n_examples,)`."""
    return np.random.default_rng((seed, epoch, Purpose.BATCHES)).permutation(n_examples)


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the global generators that a model on the device draws from.

    ``torch.manual_seed`` seeds those of every backend, which takes as long as a small step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
