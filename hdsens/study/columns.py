"""The columns of results, declared once: study rules, store, readers, docs and tests go by this.

To add one, declare it here with `since` one above the highest of the last release, and fill it in
`hdsens/training/recorder.py`; CONTRIBUTING shows how. Parts that were written before have null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hdsens.study.declaration import Study

Kind = Literal["text", "whole", "real", "time", "flag"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the results.

    Attributes:
        name: of the column. ``steps_to_<target>`` is a family of columns, one for each target.
        kind: ``text``, ``whole`` or ``real`` numbers, a ``time`` in UTC, or a ``flag``.
        meaning: one line for docs/results.md.
        unit: of a number, where it has one.
        required: whether each row must have a value; null is allowed otherwise.
        since: the minor version of the schema that added it.
        derived: made by readers from other columns, not stored.
        shown: given by readers under this name.
        members: of a family, the names that a study has a column for.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    required: bool = False
    since: int = 0
    derived: bool = False
    shown: bool = True
    members: Callable[[Study], Iterable[str]] | None = None

    @property
    def prefix(self) -> str | None:
        """What the names of a family of columns begin with; None for a single column."""
        return self.name.partition("<")[0] if self.name.endswith(">") else None

    def names(self, study: Study | None = None) -> tuple[str, ...]:
        """Return the column's name, or the names of a family's members in a study."""
        if self.prefix is None:
            return (self.name,)
        members = () if study is None or self.members is None else self.members(study)
        return tuple(f"{self.prefix}{member}" for member in members)

    def has(self, name: str) -> bool:
        """Whether `name` is this column, or a member of this family."""
        if self.prefix is None:
            return name == self.name
        return name.startswith(self.prefix) and name.isidentifier()


CELLS = (
    Column("cell_id", "text", "identity of the cell", required=True),
    Column("study", "text", "name of the study"),
    Column("task", "text", "model, data and loss, with their settings; cells are compared "
           "within one"),
    Column("arm", "text", "name of the arm"),
    Column("baseline", "text", "the arm that this one is compared with; null for a base arm"),
    Column("optimizer", "text", "as the study names it"),
    Column("lr", "real", "level of the learning rate"),
    Column("hypergrad_lr", "real", "level of the learning rate's own learning rate; null for a "
           "base arm. Other factors follow, a column each"),
    Column("factors", "text", "levels of all factors as JSON; readers give a column each instead",
           shown=False),
    Column("seed", "whole", "of initial weights, batch order and dropout"),
    Column("role", "text", "`pilot` or `confirmatory`"),
    Column("outcome", "text", "`completed`; `diverged`, which is a result; `failed`, which is none "
           "and runs again", required=True),
    Column("error", "text", "why a cell failed"),
    Column("diverged_step", "whole", "the step at which the minibatch loss, a gradient, the lr, a "
           "parameter or an evaluation was not finite"),
    Column("steps", "whole", "the budget", "updates"),
    Column("steps_run", "whole", "how many were made, the diverging one included", "updates"),
    Column("initial_loss", "real", "training loss before step 1", "nats"),
    Column("train_loss", "real", "at the end, over the whole split, in eval mode; null for "
           "diverged cells", "nats"),
    Column("valid_loss", "real", "likewise on the validation split", "nats"),
    Column("valid_accuracy", "real", "share of right answers at the end; null where targets "
           "are no classes"),
    Column("best_valid_loss", "real", "lowest validation loss of the evaluations. `evaluate` says "
           "when; changing it trains no cell again, so compare it only between cells evaluated at "
           "the same steps", "nats"),
    Column("lr_final", "real", "learning rate that the last update used"),
    Column("lr_max", "real", "highest learning rate that an update used"),
    Column("lr_min", "real", "lowest learning rate that an update used"),
    Column("wall_s", "real", "time of the pack / pack size", "seconds"),
    Column("pack_size", "whole", "how many cells trained together", "cells"),
    Column("device", "text", "where the cell trained"),
    Column("dtype", "text", "of the parameters"),
    Column("torch_version", "text", "of torch"),
    Column("hdsens_version", "text", "of this package"),
    Column("finished_at", "time", "when the pack was written", required=True),
    Column("initial_valid_loss", "real", "validation loss before step 1", "nats", since=1),
    Column("source", "text", "the search that asked for the cell; null for cells of a grid. Given "
           "with `all=True`", since=1, shown=False),
    Column("steps_to_<target>", "whole", "first step at which the target was reached; null: never",
           "updates", members=lambda study: study.targets),
    Column("learned", "flag", "`train_loss < initial_loss - 1e-6 * max(1, abs(initial_loss))`; "
           "false for diverged cells, null where unknown", since=1, derived=True),
)  # fmt: skip
"""One row a cell."""

TRACES = (
    Column("cell_id", "text", "identity of the cell", required=True),
    Column("step", "whole", "number of the update; 1 is the first minibatch", "updates",
           required=True),
    Column("epoch", "real", "passes over the training set"),
    Column("lr", "real", "learning rate that the step's update used"),
    Column("batch_loss", "real", "of the minibatch, before its update", "nats"),
    Column("train_loss", "real", "over the whole split, after the update; null where not "
           "evaluated", "nats"),
    Column("valid_loss", "real", "likewise on the validation split", "nats"),
    Column("valid_accuracy", "real", "share of right answers; null where not evaluated, "
           "and where targets are no classes"),
    Column("lr_effective", "real", "step size that took effect where it is not `lr`; null where "
           "not recorded", since=1),
)  # fmt: skip
"""One row a recorded step."""

MAJOR = 1
"""Version of the schema that only a change raises which no reader of another version can follow."""
MINOR = max(column.since for column in (*CELLS, *TRACES))
"""Version of the schema that grows with the columns; older and newer ones are read."""


RESULT_COLUMNS = frozenset(
    column.name for column in (*CELLS, *TRACES) if column.since == 0 and column.shown
)
"""Columns, and families of them, that readers gave in the first release: no factor has their names.

A column that was added later gives way to a factor of its name, which may be older.
"""

_OF_TABLES = (
    *("above", "after", "at", "before", "below", "best", "best_level", "better", "change"),
    *("changed", "check", "check_effect", "claim", "confidence", "cpe", "decades"),
    *("decades_within_5pct", "decided_by", "default_score", "difference", "diverged"),
    *("divergence_rate", "draws", "effect", "effective_dimensionality", "equal", "excess_loss"),
    *("expected", "factor", "factors", "failed", "family", "gap_at_best", "held_back"),
    *("importance", "index", "initial_lr", "key", "kind", "last_step", "learned", "left_zero"),
    *("left_zero_step", "levels", "levels_per_decade", "loss", "loss_high", "loss_low"),
    *("loss_mean", "lost", "lower", "lr_effective", "lr_peak", "lr_peak_step", "lr_sensitivity"),
    *("margin", "median_steps", "metric", "missing", "n_cells", "n_common", "n_completed"),
    *("n_diverged", "n_factors", "n_failed", "n_levels", "n_missing", "n_points", "n_rows"),
    *("n_seeds", "n_settings", "n_settings_refuted", "n_tasks", "n_traced", "n_uncommon"),
    *("n_untrained", "neither", "noise", "not_supported", "note", "number", "own", "owner"),
    *("p_refuted", "p_worse", "part", "parts", "point", "points", "primary", "quantity"),
    *("reached", "reference_loss", "refuted", "refuted_on_this_ladder", "regret", "regret_above"),
    *("regret_below", "regret_cvar", "regret_mean", "regret_median", "regret_worst"),
    *("regret_zero", "role_judged", "sampler", "sampler_seed", "search", "setting", "share"),
    *("side", "sign_changes", "stable", "state", "supported", "term", "tested", "threshold"),
    *("tuned_score", "unit", "untrained", "upper", "value", "variance", "verdict", "within_10pct"),
    *("within_1pct", "within_5pct", "worse"),
)
TABLE_COLUMNS = frozenset(
    f"{name}{bound}" for name in _OF_TABLES for bound in ("", "_lower", "_upper")
)
"""Columns that the analysis' tables have beside the factors, whose columns bear their own names."""


def stored(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns that parts store: all but the derived ones."""
    return tuple(column for column in columns if not column.derived)


def is_reserved(name: str) -> bool:
    """Whether a result column of the first release has this name, so that no factor can."""
    families = (column for column in (*CELLS, *TRACES) if column.prefix and column.since == 0)
    return name in RESULT_COLUMNS or any(family.has(name) for family in families)


def is_taken(name: str) -> bool:
    """Whether a new study's factor cannot have this name; stored studies may."""
    return is_reserved(name) or name in TABLE_COLUMNS or name.startswith("_")
