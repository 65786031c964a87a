"""Whether cells ended better than they began."""

from __future__ import annotations

import numpy as np
import pandas as pd

NEEDED = ("outcome", "initial_loss", "train_loss", "lr", "hypergrad_lr")


def learned(cells: pd.DataFrame) -> pd.Series[bool]:
    """Whether training made the loss smaller by more than rounding; null where unknown."""
    before, after = (cells[name].astype("float64") for name in ("initial_loss", "train_loss"))
    known = before.notna() & after.notna()
    smaller = after < before - 1e-6 * np.maximum(1.0, before.abs())
    diverged = cells["outcome"] == "diverged"
    return (smaller & ~diverged).astype("boolean").where(known | diverged)


def count_unlearned(cells: pd.DataFrame) -> int:
    """Count completed cells that ended no better than untrained, except where none could learn.

    A cell at lr = 0 cannot, unless HD moves its lr.
    """
    moves = (cells["lr"] != 0) | (cells["hypergrad_lr"].astype("float64").fillna(0.0) != 0)
    not_learned = ~learned(cells).fillna(True).astype(bool)
    return int(((cells["outcome"] == "completed") & not_learned & moves).sum())
