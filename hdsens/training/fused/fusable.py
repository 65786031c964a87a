"""Decide whether a cell can train on the fused path, and say why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hdsens.errors import USER_ERRORS, describe
from hdsens.study import Arm, Task
from hdsens.study.levels import Level
from hdsens.study.optimizers import OptimizerFacts, optimizer_facts
from hdsens.training.fused.rules import fused_rule
from hdsens.training.fused.update_rules import UpdateRule
from hdsens.training.optimizers import build_optimizer


def optimizer_of(arm: Arm, task: Task, factors: Mapping[str, Level]) -> torch.optim.Optimizer:
    """Build the optimizer of a cell on a stand-in parameter."""
    return build_optimizer([nn.Parameter(torch.zeros(1))], arm, task, factors)


def settings_of(arm: Arm, task: Task, factors: Mapping[str, Level]) -> dict[str, Any]:
    """Return the arguments of a cell's optimizer, and those that its name implies."""
    optimizer = optimizer_of(arm, task, factors)
    return {**optimizer.param_groups[0], **_facts(optimizer).implied}


def rule_of(arm: Arm, task: Task, factors: Mapping[str, Level]) -> type[UpdateRule]:
    """Return the fused update rule of a cell that has one."""
    rule = fused_rule(_facts(optimizer_of(arm, task, factors)))
    assert rule is not None
    return rule


def obstacle(arm: Arm, task: Task, factors: Mapping[str, Level]) -> str | None:
    """Say in a few words why an optimizer has no fused form; None where it has one."""
    try:
        optimizer = optimizer_of(arm, task, factors)
    except USER_ERRORS as error:  # whatever a person's own optimizer raises
        return describe(error)
    facts = _facts(optimizer)
    rule = fused_rule(facts)
    if rule is None:
        return f"{arm.optimizer} has no fused form"
    for name, value in {**optimizer.param_groups[0], **facts.implied}.items():
        if not rule.knows(name, value):
            what = arm.optimizer if name in facts.implied else f"{name} = {value!r}"
            return f"{what} has no fused form"
    return None


def _facts(optimizer: torch.optim.Optimizer) -> OptimizerFacts:
    """Look the facts up by the class itself, since a path may name it by another module."""
    return optimizer_facts(f"{type(optimizer).__module__}:{type(optimizer).__qualname__}")


def obstacle_of_model(model: nn.Module) -> str | None:
    """Say in a few words why a model has no fused form; None where no reason is known."""
    for name, parameter in model.named_parameters():
        if parameter.is_complex():
            return f"parameter {name!r} is complex"
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            return f"parameter {name!r} has a hook, which would get lost"
    for name, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            return f"module {name or type(module).__name__!r} has a backward hook"
    return None
