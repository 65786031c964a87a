"""A scheduler for trainers that insist on one."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler


def keep_lr(optimizer: Optimizer) -> LRScheduler:
    """A scheduler that leaves every param group's lr as the optimizer leaves it.

    For trainers that make a scheduler of their own where they are given none: the Hugging Face
    Trainer's overwrites lr at every step. ``get_last_lr()`` is the lr learned so far.
    """
    return ConstantLR(optimizer, factor=1.0)
