"""Adam and AdamW whose learning rate is learned (Adam-HD)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from hdsens.optim.checks import check_moments
from hdsens.optim.hypergradient import HypergradientOptimizer, adapt_lr, step_lr
from hdsens.optim.reductions import Products, inner, total


class AdamHD(HypergradientOptimizer):
    """``torch.optim.Adam`` with hypergradient descent on its learning rate."""

    own_defaults = {  # noqa: RUF012 - read only
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
        "amsgrad": False,
        "decoupled_weight_decay": False,
        "hypergrad_lr": 1e-8,
        "fused": None,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        hypergrad_lr: float = 1e-8,
        rule: str = "additive",
        transition: tuple[float, float] | None = None,
        lr_bounds: tuple[float, float] | None = None,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "hypergrad_lr": hypergrad_lr,
            "rule": rule,
            "transition": transition,
            "lr_bounds": lr_bounds,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
        }
        super().__init__(params, options)

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        check_moments(type(self).__name__, options)

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        gu, gg, uu = [], [], []
        for param in params:
            state = self.state[param]
            gradient = _gradient(group, param)
            idle = state.pop("idle", None) is not None
            if group["hypergrad_lr"] != 0 and group["rule"] == "multiplicative":
                gg.append(inner(gradient, gradient))
            if state and not idle and group["hypergrad_lr"] != 0:
                previous = _previous_direction(group, state)
                gu.append(inner(gradient, previous))
                if group["rule"] == "multiplicative":
                    uu.append(inner(previous, previous))
            if not state:
                _start(group, state, param)
        if gu:
            adapt_lr(
                group, Products(total(gu), total(gg) if gg else None, total(uu) if uu else None)
            )
        self._descend(group, params)

    def _descend(self, group: dict[str, Any], params: list[Tensor]) -> None:
        states = [self.state[param] for param in params]
        beta1, beta2 = group["betas"]
        (adamw if group["decoupled_weight_decay"] else adam)(
            params,
            [param.grad for param in params],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
            [state["step"] for state in states],
            foreach=group["foreach"],
            fused=group["fused"],
            amsgrad=group["amsgrad"],
            beta1=beta1,
            beta2=beta2,
            lr=step_lr(group),  # type: ignore[arg-type]
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )


def _gradient(group: dict[str, Any], param: Tensor) -> Tensor:
    """g_t: the gradient of what is minimised, with the L2 term unless it is decoupled."""
    assert param.grad is not None
    gradient = -param.grad if group["maximize"] else param.grad
    if group["weight_decay"] != 0 and not group["decoupled_weight_decay"]:
        gradient = gradient.add(param, alpha=group["weight_decay"])
    return gradient


def _previous_direction(group: dict[str, Any], state: dict[str, Tensor]) -> Tensor:
    """u_{t-1} = m̂ / (√v̂ + ε), made again from the moments."""
    beta1, beta2 = group["betas"]
    t = state["step"].item()
    second = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    denominator = (second.sqrt() / (1 - beta2**t) ** 0.5).add_(group["eps"])
    return (state["exp_avg"] / (1 - beta1**t)).div_(denominator)


def _start(group: dict[str, Any], state: dict[str, Tensor], param: Tensor) -> None:
    device = param.device if group["fused"] else "cpu"
    state["step"] = torch.zeros((), dtype=torch.float32, device=device)
    state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
    state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
    if group["amsgrad"]:
        state["max_exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
