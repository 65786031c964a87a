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

TABLE_COLUMNS = frozenset(
    [
        *("above", "after", "at", "before", "below", "best", "best_level", "best_lower"),
        *("best_upper", "change", "changed", "check", "check_effect", "check_lower"),
        *("check_upper", "claim", "confidence", "decades", "decades_within_5pct", "decided_by"),
        *("default_score", "difference", "diverged", "divergence_rate", "divergence_rate_lower"),
        *("divergence_rate_upper", "draws", "effect", "effective_dimensionality", "excess_loss"),
        *("expected", "factor", "factors", "failed", "family", "gap_at_best", "held_back"),
        *("importance", "index", "initial_lr", "key", "kind", "last_step", "learned"),
        *("left_zero", "left_zero_step", "levels", "levels_per_decade", "loss", "loss_high"),
        *("loss_low", "loss_mean", "loss_mean_lower", "loss_mean_upper", "lost", "lower"),
        *("lr_effective", "lr_peak", "lr_peak_step", "lr_sensitivity", "margin", "median_steps"),
        *("median_steps_lower", "median_steps_upper", "metric", "missing", "n_cells", "n_common"),
        *("n_completed", "n_diverged", "n_factors", "n_failed", "n_levels", "n_missing"),
        *("n_points", "n_rows", "n_seeds", "n_settings", "n_settings_refuted", "n_tasks"),
        *("n_traced", "n_uncommon", "n_untrained", "noise", "not_supported", "note", "number"),
        *("own", "owner", "p_refuted", "p_worse", "part", "parts", "point", "points", "primary"),
        *("quantity", "reached", "reference_loss", "refuted", "refuted_on_this_ladder", "regret"),
        *("regret_above", "regret_below", "regret_cvar", "regret_mean", "regret_median"),
        *("regret_worst", "regret_zero", "role_judged", "sampler", "sampler_seed", "search"),
        *("setting", "share", "share_lower", "share_upper", "side", "sign_changes", "stable"),
        *("state", "supported", "term", "tested", "threshold", "tuned_score", "unit"),
        *("untrained", "upper", "value", "variance", "verdict"),
    ]
)
"""Columns that the analysis' tables have beside the factors, whose columns bear their own names."""
