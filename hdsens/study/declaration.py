"""What a person declares: a task, arms, seeds, a budget, targets.

The same study can be written as a TOML file (`Study.from_toml`) or in Python, since each table of
the file is a frozen pydantic model here:

>>> study = Study(
...     name="tiny",
...     seeds=3,
...     task=Task(model="logreg", data="digits", epochs=5),
...     arms=[
...         Arm(name="sgd", optimizer="SGD", lr=[0, 0.01, 0.1]),
...         Arm(name="sgd_hd", optimizer="SGDHD", baseline="sgd",
...             lr=[0, 0.01, 0.1], hypergrad_lr=1e-3),
...     ],
... )
>>> study.arm("sgd_hd").factor_levels
{'lr': (0.0, 0.01, 0.1), 'hypergrad_lr': (0.001,)}
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from hdsens.errors import InputError
from hdsens.notebook import html_table
from hdsens.study.columns import is_reserved, is_taken
from hdsens.study.fields import (
    ArmName,
    ColumnName,
    FactorName,
    FewArms,
    Named,
    Real,
    Seeds,
    Settings,
    Share,
    StudyName,
    Validation,
)
from hdsens.study.levels import SMALLEST, Level, NonNegativeLevels, OtherLevels
from hdsens.study.optimizers import is_hd
from hdsens.study.rules import check_plain, explain, number, rule_broken
from hdsens.study.task_factors import BUDGET, CLIPPING, TABLES, changes_task, tasks_label
from hdsens.text import level as written

DEFAULT_LOSS = "cross_entropy"
MAX_CELLS = 2_000_000
MAX_FILE_BYTES = 8_000_000


class Table(BaseModel):
    """A table of a study file: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Task(Table):
    """What is trained: data set, model, loss, batch size, weight decay.

    The loss is cross-entropy (in nats), mean squared error, or a person's own; all are means over
    examples. `epochs` or `steps` gives the budget of updates.
    """

    model: Named
    data: Named = "digits"
    model_settings: Settings = {}
    data_settings: Settings = {}
    loss: Named = DEFAULT_LOSS
    loss_settings: Settings = {}
    batch_size: Annotated[int, Field(ge=1, le=10**9, strict=True)] = 128
    epochs: Annotated[int, Field(ge=1, le=10**6, strict=True)] | None = None
    steps: Annotated[int, Field(ge=1, le=10**12, strict=True)] | None = None
    weight_decay: Annotated[Real, Field(ge=0)] = 0.0
    validation: Validation = 0.1
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _one_budget(self) -> Task:
        if (self.epochs is None) == (self.steps is None):
            raise rule_broken("needs either epochs or steps", remedy="e.g. epochs = 10")
        return self

    @property
    def label(self) -> str:
        """A name for tables and titles, such as ``mlp(width=1000) on mnist``."""
        name = f"{_call(self.model, self.model_settings)} on {_call(self.data, self.data_settings)}"
        loss = _call(self.loss, self.loss_settings)
        return name if loss == DEFAULT_LOSS else f"{name} by {loss}"


class Trace(Table):
    """What a cell records along the way."""

    points: Annotated[int, Field(ge=1, le=10**5, strict=True)] = 60
    evaluate: Annotated[tuple[Share, ...], Field(min_length=1, max_length=1000)] = (0.1, 0.3, 1.0)


class Target(Table):
    """Reached at the first step whose minibatch loss is at or below `batch_loss` (nats)."""

    batch_loss: Real


class Stop(Table):
    """When a cell ends: at its budget, or once it has reached every target."""

    when: Literal["budget", "targets"] = "budget"


class Margins(Table):
    """How much worse still counts as no worse, by claim: C1 `ratio` and `best`, C2 `zero`, C3
    `worse`, C4 `tuning`. In units of normalised regret, but for `ratio`, which has none.
    """

    ratio: Annotated[Real, Field(gt=0)] = 0.5
    best: Annotated[Real, Field(ge=0)] = 0.02
    zero: Annotated[Real, Field(ge=0)] = 0.02
    worse: Annotated[Real, Field(ge=0)] = 0.02
    tuning: Annotated[Real, Field(ge=0)] = 0.01


class Protocol(Table):
    """What is fixed before the confirmatory seeds run; without it a verdict is exploratory.

    `pilot_seeds` choose what the other seeds are judged by; `primary` has, by compared arm, the
    levels of its own factors that the claims are tested at; `margins` are those of the claims.
    """

    pilot_seeds: Seeds
    primary: dict[ArmName, dict[FactorName, Level]] = {}
    margins: Margins = Margins()


def _flat(factors: object) -> object:
    """Write factors from dotted keys of TOML, which are nested tables, with their full names."""
    if not isinstance(factors, dict):
        return factors
    flat: dict[object, object] = {}
    for name, levels in factors.items():
        is_table = name in TABLES and isinstance(levels, dict)
        flat.update({f"{name}.{k}": v for k, v in levels.items()} if is_table else {name: levels})
    return flat


class Arm(Table):
    """One optimizer with its fixed settings and the levels of its factors."""

    name: ArmName
    optimizer: Named
    baseline: ArmName | None = None
    settings: Settings = {}
    schedule: Literal["none", "inv_sqrt"] = "none"
    clip_grad_norm: Annotated[Real, Field(ge=0)] = 0.0
    lr: NonNegativeLevels
    hypergrad_lr: NonNegativeLevels | None = None
    factors: Annotated[dict[FactorName, OtherLevels], BeforeValidator(_flat)] = {}

    @model_validator(mode="after")
    def _names_are_free(self, info: ValidationInfo) -> Arm:
        for key in ("lr", "hypergrad_lr"):
            if key in self.settings:
                raise rule_broken(
                    f"must not hold {key}", part="settings", remedy=f"write {key} = … in the arm"
                )
        for factor in self.factors:
            if is_reserved(factor) or (is_taken(factor) and not _may_keep(factor, info)):
                remedy = f"write {factor} = … in the arm" if factor in ARM_FACTORS else "rename it"
                raise rule_broken(
                    "must not be named like a result column",
                    part=f"factor {factor!r}",
                    remedy=remedy,
                )
        stated = self.settings.get("batch_size", 1)
        for part, sizes in (
            ("factor 'batch_size'", self.factors.get("batch_size", ())),
            ("settings: batch_size", (stated,)),
        ):
            for size in sizes:
                if not _is_count(size):
                    raise rule_broken(
                        "must be whole numbers >= 1", size, part=part, remedy="e.g. [32, 128]"
                    )
        _check_numbers(self, CLIPPING, "must be numbers >= 0", "0 is off", 0, math.inf)
        _check_numbers(self, BUDGET, "must be shares > 0 and <= 1", "e.g. [0.1, 1.0]", SMALL, 1)
        return self

    @property
    def is_hd(self) -> bool:
        """Whether the arm adapts its learning rate by hypergradient descent."""
        return self.hypergrad_lr is not None or is_hd(self.optimizer)

    @property
    def factor_levels(self) -> dict[str, tuple[Level, ...]]:
        """Levels of each factor, `lr` and (where it has one) `hypergrad_lr` first."""
        own = {"lr": self.lr, "hypergrad_lr": self.hypergrad_lr}
        return {**{k: v for k, v in own.items() if v is not None}, **self.factors}


ARM_FACTORS = ("lr", "hypergrad_lr")


class Study(Table):
    """A declared experiment; see the module's docstring for an example.

    `metric` is what tables, verdict and page judge; it is no part of a cell's identity.
    """

    name: StudyName
    seeds: Seeds = (0, 1, 2)
    metric: Literal["train_loss", "valid_loss"] = "train_loss"
    task: Task
    trace: Trace = Trace()
    targets: dict[ColumnName, Target] = {}
    stop: Stop = Stop()
    protocol: Protocol | None = None
    arms: Annotated[tuple[Arm, ...], Field(min_length=1), FewArms]

    def _repr_html_(self) -> str:
        """What a notebook shows: the arms with the levels of their factors."""
        factors = list(dict.fromkeys(name for arm in self.arms for name in arm.factor_levels))
        rows = [
            [arm.name, arm.optimizer, arm.baseline]
            + [", ".join(written(v) for v in arm.factor_levels.get(name, ())) for name in factors]
            for arm in self.arms
        ]
        caption = f"{self.name}: {self.task_label}, seeds {', '.join(map(str, self.seeds))}"
        return html_table(caption, ["arm", "optimizer", "baseline", *factors], rows)

    @classmethod
    def from_toml(cls, path: str | Path, *, known_factors: Collection[str] = ()) -> Study:
        """Read a study file; `known_factors` as in `from_dict`.

        Raises:
            InputError: the file cannot be read, is not TOML, or breaks a rule; one line says which.
        """
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise InputError(
                f"study file {str(path)!r}", f"cannot be read: {reason}", remedy="check the path"
            ) from None
        if len(content) > MAX_FILE_BYTES:
            raise InputError(
                f"study file {str(path)!r}",
                f"must have at most {MAX_FILE_BYTES} bytes",
                remedy="write grids as { log10 = … } and seeds as a count",
            )
        try:
            data = tomllib.loads(content.decode("utf-8-sig"), parse_float=number)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"study file {str(path)!r}", f"must be TOML: {error}", remedy="mend that place"
            ) from None
        return cls.from_dict(data, known_factors=known_factors)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        stored: bool = False,
        known_factors: Collection[str] = (),
    ) -> Study:
        """Check nested dicts and lists, as a TOML file gives them.

        Args:
            data: the tables.
            stored: whether a store holds this study. Rules that came after the first release do
                not bind it, so that it can be read for ever.
            known_factors: factors of the stored study that this one extends. They keep their names
                where a later release gave these to the analysis.

        Raises:
            InputError: with the first rule that is broken.
        """
        check_plain(data)
        try:
            return cls.model_validate(data, context={"stored": stored, "known": known_factors})
        except ValidationError as error:
            raise explain(error, data, cls) from None

    @classmethod
    def from_json(cls, text: str) -> Study:
        """Read a study that another process has checked and written with `model_dump_json`."""
        return cls.model_validate_json(text, context={"stored": True, "known": ()})

    def arm(self, name: str) -> Arm:
        """Return the arm of that name; KeyError if there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Arm]:
        return {arm.name: arm for arm in self.arms}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as pydantic does, and forget the index of arms by name, since `arms` may be new."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_by_name", None)
        return copied

    @property
    def task_label(self) -> str:
        """What the study trains, with the factors that make several tasks of it."""
        return tasks_label(self)

    @property
    def pilot_seeds(self) -> tuple[int, ...]:
        """Seeds that only choose; empty without a protocol."""
        return self.protocol.pilot_seeds if self.protocol else ()

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Study:
        _check_arm_names(self.arms)
        _check_size(self)
        if not _is_stored(info):
            _check_not_lost(self)
        arms = {arm.name: arm for arm in self.arms}
        for arm in self.arms:
            if arm.baseline is not None:
                _check_baseline(arm, arms)
        if self.stop.when == "targets" and not self.targets:
            raise rule_broken(
                "needs at least one target", "targets", part="stop: when", remedy="add [targets]"
            )
        if self.protocol is not None:
            _check_protocol(self.protocol, self)
        return self


def _is_stored(info: ValidationInfo) -> bool:
    return bool(info.context and info.context["stored"])


def _may_keep(factor: str, info: ValidationInfo) -> bool:
    """Whether the study's results already have this factor, from when its name was free."""
    return bool(info.context and (info.context["stored"] or factor in info.context["known"]))


def _is_count(value: object) -> bool:
    """Whether a number is whole and positive; levels are floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value >= 1 and value == int(value)


SMALL = 1e-12


def _check_numbers(arm: Arm, factor: str, rule: str, remedy: str, low: float, high: float) -> None:
    """Refuse levels of a factor that are no numbers from `low` to `high`."""
    for level in arm.factors.get(factor, ()):
        if isinstance(level, bool | str | tuple) or not low <= level <= high:
            raise rule_broken(rule, level, part=f"factor {factor!r}", remedy=remedy)


def _call(name: str, settings: Settings) -> str:
    if not settings:
        return name
    return f"{name}({', '.join(f'{k}={v}' for k, v in sorted(settings.items()))})"


def _check_arm_names(arms: tuple[Arm, ...]) -> None:
    ((name, count),) = Counter(arm.name for arm in arms).most_common(1)
    if count > 1:
        raise rule_broken("must name each arm once", name, part="arms", remedy="rename one")


def _check_size(study: Study) -> None:
    points = sum(math.prod(map(len, arm.factor_levels.values())) for arm in study.arms)
    cells = points * (len(study.seeds) + len(study.pilot_seeds))
    if cells > MAX_CELLS:
        raise rule_broken(
            f"must mean at most {MAX_CELLS} cells",
            cells,
            part="arms and seeds",
            remedy="name fewer levels or seeds, or split the study",
        )


def _check_not_lost(study: Study) -> None:
    """Refuse levels that the dtype would round to zero, which is a level of its own."""
    dtype = study.task.dtype
    for arm in study.arms:
        for factor, levels in arm.factor_levels.items():
            for level in levels:
                parts = level if isinstance(level, tuple) else (level,)
                if any(isinstance(x, float) and 0 < abs(x) < SMALLEST[dtype] for x in parts):
                    raise rule_broken(
                        f"must be 0 or at least {SMALLEST[dtype]:.3g}: {dtype} has nothing between",
                        level,
                        part=f"arm {arm.name!r}: {factor}",
                        remedy="use 0 or a larger level",
                    )


def _check_baseline(arm: Arm, arms: dict[str, Arm]) -> None:
    """Refuse a baseline that lacks a cell for some cell of the arm at the same shared factors."""
    part = f"arm {arm.name!r}: baseline"
    base = arms.get(arm.baseline or "")
    if base is None or base is arm:
        others = (
            ", ".join(repr(a) for a in islice((a for a in arms if a != arm.name), 20)) or "none"
        )
        raise rule_broken(
            "must name another arm", arm.baseline, part=part, remedy=f"other arms: {others}"
        )
    if base.baseline is not None:
        raise rule_broken(
            "must name an arm that has no baseline itself",
            arm.baseline,
            part=part,
            remedy=f"name {base.baseline!r}, the base of that family",
        )
    for factor, base_levels in base.factor_levels.items():
        levels = arm.factor_levels.get(factor)
        if levels is None:
            raise rule_broken(
                f"must not vary {factor}, which the arm does not",
                arm.baseline,
                part=part,
                remedy=f"give arm {arm.name!r} the same levels of {factor}",
            )
        known = set(base_levels)
        missing = [level for level in levels if level not in known]
        if missing:
            raise rule_broken(
                f"must have every level of {factor} that the arm has",
                missing[0],
                part=part,
                remedy=f"add that level to arm {arm.baseline!r}",
            )
    for factor in filter(changes_task, arm.factors):
        if factor not in base.factors:
            raise rule_broken(
                f"must vary {factor} as the arm does: cells are compared within one task",
                arm.baseline,
                part=part,
                remedy=f"give arm {arm.baseline!r} the same levels of {factor}",
            )


def _check_protocol(protocol: Protocol, study: Study) -> None:
    both = sorted(set(protocol.pilot_seeds) & set(study.seeds))
    if both:
        raise rule_broken(
            "must not be among the study's seeds",
            both[0],
            part="protocol: pilot_seeds",
            remedy="use other numbers, e.g. [100, 101, 102]",
        )
    arms = {arm.name: arm for arm in study.arms}
    for name, point in protocol.primary.items():
        part = f"protocol: primary {name!r}"
        if name not in arms:
            raise rule_broken(
                "must name an arm", name, part=part, remedy=f"arms: {', '.join(arms)}"
            )
        for factor, level in point.items():
            if level not in arms[name].factor_levels.get(factor, ()):
                raise rule_broken(
                    f"must be one of the arm's levels of {factor}",
                    level,
                    part=part,
                    remedy="add the level to the arm or name another",
                )
