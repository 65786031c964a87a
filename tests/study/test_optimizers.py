"""The table of facts about optimizers against the optimizers themselves."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from hdsens.study.optimizers import (
    COMPUTING,
    KNOWN_OPTIMIZERS,
    is_hd,
    optimizer_facts,
    update_rule,
)
from hdsens.training.optimizers import optimizer_class


def arguments_of(name: str) -> dict[str, Any]:
    """A constructor's arguments with their defaults, as TOML has them."""
    given = inspect.signature(optimizer_class(name)).parameters.values()
    defaults = {p.name: p.default for p in given}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in defaults.items()}


@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_the_defaults_are_those_of_the_class(name: str) -> None:
    """All but what the study gives and what changes only how a step is computed."""
    given = {"params", "lr", "weight_decay"}
    found = {k: v for k, v in arguments_of(name).items() if k not in given | COMPUTING}
    assert found == optimizer_facts(name).defaults


@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_what_a_name_implies_is_an_argument_of_its_update_rule_alone(name: str) -> None:
    facts = optimizer_facts(name)
    assert set(facts.implied) <= set(arguments_of(facts.update_rule)) - set(arguments_of(name))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("SGD", "SGD"),
        ("torch.optim:SGD", "SGD"),
        ("torch.optim.SGD", "SGD"),
        ("torch.optim.sgd:SGD", "SGD"),
        ("hdsens.optim:SGDHD", "SGDHD"),
        ("hdsens.optim.adam_hd.AdamHD", "AdamHD"),
    ],
)
def test_an_optimizer_may_be_written_with_its_module(path: str, name: str) -> None:
    assert optimizer_facts(path) == optimizer_facts(name)
    assert optimizer_facts(path).is_known


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("mine:SGD", "mine:SGD"),
        ("mine.torch.optim:Adam", "mine.torch.optim:Adam"),
        ("torch.optimal.SGD", "torch.optimal.SGD"),
        ("torch.optim:Rprop", "Rprop"),
    ],
)
def test_of_another_optimizer_nothing_is_known(path: str, name: str) -> None:
    facts = optimizer_facts(path)
    assert (facts.name, facts.update_rule, facts.is_known) == (name, name, False)
    assert not facts.is_hd
    assert not facts.defaults


def test_which_optimizers_are_hypergradient_descent() -> None:
    assert [name for name in KNOWN_OPTIMIZERS if is_hd(name)] == ["SGDHD", "AdamHD"]
    assert is_hd("hdsens.optim:SGDHD")


def test_optimizers_of_one_update_rule() -> None:
    rules = {name: update_rule(name) for name in KNOWN_OPTIMIZERS}
    adam = dict.fromkeys(("Adam", "AdamHD", "AdamW"), "Adam")
    own = {name: name for name in ("RMSprop", "Adagrad", "Adamax", "RAdam", "NAdam")}
    assert rules == {"SGD": "SGD", "SGDHD": "SGD", **adam, **own}
