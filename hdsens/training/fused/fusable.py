"""Which cells can be trained by the fused path, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import hdsens.optim
from hdsens.errors import describe
from hdsens.study import Arm, Task
from hdsens.study.cells import Cell
from hdsens.study.levels import Level
from hdsens.training.fused.update_rules import AdamRule, SgdRule, UpdateRule
from hdsens.training.optimizers import build_optimizer

_RULES: Mapping[type[torch.optim.Optimizer], type[UpdateRule]] = {
    torch.optim.SGD: SgdRule,
    hdsens.optim.SGDHD: SgdRule,
    torch.optim.Adam: AdamRule,
    hdsens.optim.AdamHD: AdamRule,
}
_PER_CELL = {
    SgdRule: {"momentum", "dampening", "nesterov"},
    AdamRule: {"betas", "eps"},
}
_SHARED = {"params", "lr", "hypergrad_lr", "weight_decay"}
_IMMATERIAL = {"foreach", "fused", "capturable"}  # how torch computes, never what
_AT_REST: Mapping[str, Any] = {
    "maximize": False,
    "differentiable": False,
    "amsgrad": False,
    "decoupled_weight_decay": False,
    "rule": "additive",
    "transition": None,
    "lr_bounds": None,
}


def optimizer_of(arm: Arm, task: Task, factors: Mapping[str, Level]) -> torch.optim.Optimizer:
    """The optimizer of a cell on a parameter that stands in for its own."""
    return build_optimizer([nn.Parameter(torch.zeros(1))], arm, task, factors)


def rule_of(arm: Arm, task: Task, cell: Cell) -> type[UpdateRule]:
    """The fused update rule of a cell that has one."""
    return _RULES[type(optimizer_of(arm, task, cell.factors))]


def obstacle(arm: Arm, task: Task, factors: Mapping[str, Level]) -> str | None:
    """Why an optimizer has no fused form, in a few words; None where it has one."""
    try:
        optimizer = optimizer_of(arm, task, factors)
    except Exception as error:  # whatever a person's own optimizer raises
        return describe(error)
    rule = _RULES.get(type(optimizer))
    if rule is None:
        return f"{arm.optimizer} has no fused form"
    known = _SHARED | _IMMATERIAL | _PER_CELL[rule]
    for name, value in optimizer.param_groups[0].items():
        if name not in known and not (name in _AT_REST and value == _AT_REST[name]):
            return f"{name} = {value!r} has no fused form"
    return None


def obstacle_of_model(model: nn.Module) -> str | None:
    """Why a model has no fused form, in a few words; None where nothing speaks against it."""
    for name, parameter in model.named_parameters():
        if parameter.is_complex():
            return f"parameter {name!r} is complex"
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            return f"parameter {name!r} has a hook, which would get lost"
    for name, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            return f"module {name or type(module).__name__!r} has a backward hook"
    return None
