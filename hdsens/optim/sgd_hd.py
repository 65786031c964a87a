"""SGD, with or without momentum, whose learning rate is learned (SGD-HD, SGDN-HD)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from hdsens.optim.checks import check_momentum
from hdsens.optim.hypergradient import (
    HypergradientOptimizer,
    adapt_lr,
    step_lr,
    wants_foreach,
)
from hdsens.optim.reductions import Products, inner, total


class SGDHD(HypergradientOptimizer):
    """``torch.optim.SGD`` with hypergradient descent on its learning rate."""

    own_defaults = {  # noqa: RUF012 - read only
        "momentum": 0,
        "dampening": 0,
        "weight_decay": 0,
        "nesterov": False,
        "hypergrad_lr": 1e-6,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        hypergrad_lr: float = 1e-6,
        rule: str = "additive",
        transition: tuple[float, float] | None = None,
        lr_bounds: tuple[float, float] | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "hypergrad_lr": hypergrad_lr,
            "rule": rule,
            "transition": transition,
            "lr_bounds": lr_bounds,
            "maximize": maximize,
            "foreach": foreach,
        }
        super().__init__(params, options)

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        check_momentum(type(self).__name__, options)

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        gu, gg, uu = [], [], []
        directions = []
        for param in params:
            state = self.state[param]
            gradient = _gradient(group, param)
            previous = _previous_direction(group, state)
            if group["hypergrad_lr"] != 0 and group["rule"] == "multiplicative":
                gg.append(inner(gradient, gradient))
            if previous is not None and group["hypergrad_lr"] != 0:
                gu.append(inner(gradient, previous))
                if group["rule"] == "multiplicative":
                    uu.append(inner(previous, previous))
            directions.append(_advance(group, state, gradient))
        if gu:
            adapt_lr(
                group, Products(total(gu), total(gg) if gg else None, total(uu) if uu else None)
            )
        _descend(params, directions, step_lr(group), wants_foreach(group, params))


def _gradient(group: dict[str, Any], param: Tensor) -> Tensor:
    """g_t: the gradient of what is minimised, L2 term included."""
    assert param.grad is not None
    gradient = -param.grad if group["maximize"] else param.grad
    if group["weight_decay"] != 0:
        gradient = gradient.add(param, alpha=group["weight_decay"])
    return gradient


def _previous_direction(group: dict[str, Any], state: dict[str, Tensor]) -> Tensor | None:
    """u_{t-1}, or None where it is 0: before a parameter's first step and after one without grad."""
    if state.pop("idle", None) is not None:
        return None
    plain_momentum = group["momentum"] != 0 and not group["nesterov"]
    return state.get("momentum_buffer" if plain_momentum else "direction")


def _advance(group: dict[str, Any], state: dict[str, Tensor], gradient: Tensor) -> Tensor:
    """u_t, kept in the state for the next step."""
    momentum = group["momentum"]
    if momentum == 0:
        return _keep(state, "direction", gradient)
    if "momentum_buffer" not in state:
        buffer = _keep(state, "momentum_buffer", gradient)
    else:
        buffer = state["momentum_buffer"]
        buffer.mul_(momentum).add_(gradient, alpha=1 - group["dampening"])
    if not group["nesterov"]:
        return buffer
    return _keep(state, "direction", gradient.add(buffer, alpha=momentum))


def _keep(state: dict[str, Tensor], name: str, value: Tensor) -> Tensor:
    if name in state:
        return state[name].copy_(value)
    state[name] = value.detach().clone(memory_format=torch.preserve_format)
    return state[name]


def _descend(
    params: list[Tensor], directions: list[Tensor], lr: float | Tensor, foreach: bool
) -> None:
    """θ_t = θ_{t-1} − lr u_t; with a tensor lr the host never reads it."""
    if isinstance(lr, Tensor):
        for param, direction in zip(params, directions, strict=True):
            param.sub_(direction * lr.to(param.device))
    elif foreach:
        torch._foreach_add_(params, directions, alpha=-lr)
    else:
        for param, direction in zip(params, directions, strict=True):
            param.add_(direction, alpha=-lr)
