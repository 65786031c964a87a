"""Adam and AdamW whose learning rate is learned (Adam-HD)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from hdsens.optim._torch_private import bookkeeping, bookkeeping_around_kernels
from hdsens.optim.checks import check_moments
from hdsens.optim.hypergradient import HypergradientOptimizer
from hdsens.optim.lr_rules import adapt_lr, measures_squares, step_lr
from hdsens.optim.packing import Member, Run, allocate, pieces, runs
from hdsens.optim.plan import Plan
from hdsens.optim.reductions import descent_gradient, products, widened
from hdsens.optim.workspace import room


class AdamHD(HypergradientOptimizer):
    """``torch.optim.Adam`` with hypergradient descent on its learning rate."""

    own_defaults: ClassVar[dict[str, Any]] = {
        "betas": (0.9, 0.999),
        "eps": 1e-8,
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
        """Raises ValueError for an option that breaks its rule, echoing it."""
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As for every one of these; step counts are host tensors, whatever they were saved as."""
        super().__setstate__(state)
        for kept in self.state.values():
            if "step" in kept:
                kept["step"] = torch.as_tensor(kept["step"], dtype=torch.float32, device="cpu")

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        check_moments(type(self).__name__, options)

    @bookkeeping_around_kernels
    def _step_group(self, index: int, params: list[Tensor]) -> None:
        group = self.param_groups[index]
        settings = _settings(group)
        plan = self._plan(index, settings, params)
        parts = []
        if group["hypergrad_lr"] != 0:
            for run in plan.runs:
                if settings.squares or not run.kind.still:
                    for vectors in _vectors(group, settings, plan, run):
                        parts.append(_measure(settings, run.kind.still, *vectors))
        self._finish(group, params, parts)

    @bookkeeping
    def _plan(self, index: int, settings: _Settings, params: list[Tensor]) -> Plan:
        def split() -> list[Run]:
            members = [_member(param, self.state[param]) for param in params]
            _start([member for member in members if not member.state], settings)
            return list(runs(members, settings.names, settings.singly))

        return self._planned(index, params, settings, split)

    @bookkeeping
    def _finish(self, group: dict[str, Any], params: list[Tensor], parts: list[Tensor]) -> None:
        adapt_lr(group, parts)
        lr = step_lr(group)
        states = [self.state[param] for param in params]
        if isinstance(lr, Tensor) and not group["fused"]:
            _descend_by_tensor(group, params, states, lr)
        else:
            _descend_as_torch(group, params, states, lr)


class _Kind(NamedTuple):
    """Steps taken so far; u_{t-1} = 0, as at first and after a step without gradient."""

    steps: float
    still: bool


class _Settings(NamedTuple):
    """What of a param group the kernel needs; never the lr, which changes every step."""

    weight_decay: float
    maximize: bool
    squares: bool
    amsgrad: bool
    singly: bool

    @property
    def names(self) -> tuple[str, str]:
        """The two moments that make u_t."""
        return "exp_avg", "max_exp_avg_sq" if self.amsgrad else "exp_avg_sq"


def _settings(group: dict[str, Any]) -> _Settings:
    coupled = 0 if group["decoupled_weight_decay"] else group["weight_decay"]
    return _Settings(
        coupled,
        group["maximize"],
        measures_squares(group),
        group["amsgrad"],
        singly=group["foreach"] is False,
    )


def _start(members: list[Member], settings: _Settings) -> None:
    allocate(members, ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * settings.amsgrad)
    for member in members:
        member.state["step"] = torch.zeros((), dtype=torch.float32)


def _member(param: Tensor, state: dict[str, Any]) -> Member:
    steps = state["step"].item() if state else 0.0
    idle = state.pop("idle", None) is not None
    return Member(param, state, _Kind(steps, idle or steps == 0))


@bookkeeping
def _vectors(
    group: dict[str, Any], settings: _Settings, plan: Plan, run: Run
) -> list[tuple[Tensor, ...]]:
    """Gradient, parameters and both moments of a run, in pieces, and two numbers.

    With them u_{t-1} = m̂ / (√v̂ + ε) is `scale` m / (√v + `floor`).
    """
    gradient = plan.gradient(run)
    param = plan.params_of(run) if settings.weight_decay != 0 else gradient
    floor, scale = _bias_correction(group, max(run.states[0]["step"].item(), 1))
    return [(*vectors, floor, scale) for vectors in pieces(gradient, param, *run.vectors)]


def _bias_correction(group: dict[str, Any], steps: float) -> tuple[Tensor, Tensor]:
    beta1, beta2 = group["betas"]
    root = (1 - beta2**steps) ** 0.5
    floor, scale = group["eps"] * root, root / (1 - beta1**steps)
    return torch.tensor(floor, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)


def _measure(
    settings: _Settings,
    still: bool,
    gradient: Tensor,
    param: Tensor,
    first: Tensor,
    second: Tensor,
    floor: Tensor,
    scale: Tensor,
) -> Tensor:
    """Measure g_t against u_{t-1}."""
    g = descent_gradient(gradient, param, settings.weight_decay, settings.maximize)
    if still:
        return products(g, None, settings.squares)
    first, second = widened(first), widened(second)
    spare = room("direction", first, len(first))
    denominator = torch.sqrt(second, out=spare).add_(floor)
    return products(g, torch.div(first, denominator, out=spare), settings.squares, scale)


def _descend_as_torch(
    group: dict[str, Any], params: list[Tensor], states: list[dict[str, Any]], lr: float | Tensor
) -> None:
    """Torch's own update, which also advances the moments."""
    beta1, beta2 = group["betas"]
    steps = [state["step"] for state in states]
    update = adamw if group["decoupled_weight_decay"] else adam
    update(
        params,
        [param.grad for param in params],
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
        steps,
        foreach=group["foreach"],
        fused=group["fused"],
        amsgrad=group["amsgrad"],
        beta1=beta1,
        beta2=beta2,
        lr=lr,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )


def _descend_by_tensor(
    group: dict[str, Any], params: list[Tensor], states: list[dict[str, Any]], lr: Tensor
) -> None:
    raise NotImplementedError
