"""Randomness as a function of (seed, step, purpose), never of generator state.

So a cell gives the same result alone, in any pack, on any worker and after a resume.
"""

from __future__ import annotations

import random
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
    """Seed the global generators that torch's own modules on the device draw from.

    ``torch.manual_seed`` seeds those of every backend, which takes as long as a small step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def seed_all(seed: int, device: torch.device) -> None:
    """Seed every global generator that a person's own code may draw from: NumPy's, Python's too."""
    seed_torch(seed, device)
    np.random.seed(seed % 2**32)  # noqa: NPY002 # it is the global one that people draw from
    random.seed(seed)
