"""What an arm does otherwise than its baseline, besides learning its lr.

A comparison says something about hypergradient descent alone where an HD arm with
`hypergrad_lr = 0` would take the very steps of its baseline. `differences` names each option that
stands in the way, from the declarations of both arms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hdsens.study.declaration import Arm
from hdsens.study.optimizers import COMPUTING, HD_OPTIONS, OptimizerFacts, optimizer_facts
from hdsens.text import exact_level

Levels = tuple[Any, ...]
_BETA = "hypergrad_lr"
OF_THE_TASK = ("batch_size", "weight_decay")
"""Options that a task gives to every arm, which may state its own."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An option that an arm and its baseline have at different values.

    Attributes:
        name: the option, such as `momentum`; `optimizer` stands for the update rule.
        own: the arm's levels of it: one where it is fixed, none where its value is unknown.
        baseline: the same of the baseline.
    """

    name: str
    own: Levels
    baseline: Levels

    def __str__(self) -> str:
        """Say the difference as the notes of `plan` and the verdict do.

        >>> str(Difference("momentum", (0.9,), (0.0,)))
        "momentum 0.9, its baseline's 0"
        """
        return f"{self.name} {_words(self.own)}, its baseline's {_words(self.baseline)}"


@dataclass(frozen=True, slots=True)
class _Side:
    """One arm of a pair: the levels of all options that determine its steps."""

    facts: OptimizerFacts
    options: Mapping[str, Levels]
    varied: frozenset[str]

    def acts(self, option: str) -> bool:
        """Whether an option is other than 0 at some level, or may be."""
        return any(value != 0 for value in self.options.get(option, (None,)))


def differences(
    arm: Arm | Mapping[str, Any], baseline: Arm | Mapping[str, Any], task: Mapping[str, Any]
) -> tuple[Difference, ...]:
    """Return the options whose values differ between an arm and its baseline.

    Factors that both vary are matched level by level, so they are no difference; nor is what only
    changes how a step is computed, nor `hypergrad_lr` with its `rule` and `lr_bounds` beside a
    baseline that does not learn its lr.

    Args:
        arm: as a study declares it, or as a result keeps the declaration: a mapping with
            optimizer, settings, schedule, clip_grad_norm and levels.
        baseline: likewise.
        task: what the task gives: `OF_THE_TASK`, as far as known.

    >>> sgd = Arm(name="sgd", optimizer="SGD", lr=0.1)
    >>> nesterov = Arm(name="n", optimizer="SGDHD", lr=0.1, hypergrad_lr=1e-3,
    ...                settings={"momentum": 0.9})
    >>> [str(found) for found in differences(nesterov, sgd, {"weight_decay": 0.0})]
    ["momentum 0.9, its baseline's 0"]
    """
    own, base = (_side(one, task) for one in (arm, baseline))
    at_equal_levels = {name: own.options[name] for name in own.varied & base.varied}
    base = replace(base, options={**base.options, **at_equal_levels})
    pairs = {
        name: (own.options.get(name, ()), base.options.get(name, ()))
        for name in _comparable(own, base)
    }
    return tuple(Difference(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1])


def _side(arm: Arm | Mapping[str, Any], task: Mapping[str, Any]) -> _Side:
    """Collect an arm's options: factors win over settings, task and the optimizer's defaults."""
    stated = {**dict(arm), "levels": arm.factor_levels} if isinstance(arm, Arm) else arm
    facts = optimizer_facts(stated["optimizer"])
    fixed = {
        "optimizer": facts.update_rule,
        "schedule": stated["schedule"],
        "clip_grad_norm": stated["clip_grad_norm"],
        **{name: task[name] for name in OF_THE_TASK if name in task},
        **(HD_OPTIONS if facts.is_known else {_BETA: 0.0}),
        **facts.defaults,
        **facts.implied,
        **stated["settings"],
    }
    options = {name: (_plain(value),) for name, value in fixed.items()}
    options |= {name: _plain(levels) for name, levels in stated["levels"].items()}
    kept = {name: levels for name, levels in options.items() if name not in COMPUTING}
    return _Side(facts, kept, frozenset(stated["levels"]))


def _comparable(own: _Side, base: _Side) -> Iterator[str]:
    """Yield the names of the options to compare.

    Optimizers of two update rules have arguments of their own: only those of both are compared.
    An argument that does nothing while another is 0, such as nesterov without momentum, is
    compared where it acts in both arms.
    """
    needs = {**own.facts.needs, **base.facts.needs}
    for name in dict.fromkeys((*own.options, *base.options)):
        of_both = name in own.options and name in base.options
        if not of_both and own.facts.update_rule != base.facts.update_rule:
            continue
        if name in needs and not (own.acts(needs[name]) and base.acts(needs[name])):
            continue
        if name != _BETA or base.acts(_BETA):
            yield name


def _plain(value: Any) -> Any:
    """Turn lists into tuples, so that a setting in TOML equals a level or a default."""
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _words(levels: Levels) -> str:
    return ", ".join(map(_word, levels)) if levels else "unstated"


def _word(value: Any) -> str:
    """Write a value as one would type it, with enough digits to be unambiguous."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_word, value))}]"
    return "none" if value is None else exact_level(value)
