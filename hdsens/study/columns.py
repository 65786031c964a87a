"""The columns that results have, whatever a study varies."""

from __future__ import annotations

RESULT_COLUMNS = frozenset(
    [
        *("cell_id", "study", "task", "arm", "baseline", "optimizer", "lr", "hypergrad_lr"),
        *("seed", "role", "outcome", "error", "diverged_step", "steps", "steps_run"),
        *("initial_loss", "train_loss", "valid_loss", "valid_accuracy", "best_valid_loss"),
        *("lr_final", "lr_max", "lr_min", "wall_s", "pack_size", "device", "dtype"),
        *("torch_version", "hdsens_version", "finished_at", "step", "epoch", "batch_loss"),
    ]
)
"""Columns that `read_cells` and `read_traces` give whatever the study varies."""
