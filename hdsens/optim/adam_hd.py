"""Adam and AdamW whose learning rate is learned (Adam-HD)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from hdsens.optim._torch_private import bookkeeping, require_fused_kernel
from hdsens.optim.adam_update import bias_corrections, descend, descend_fused
from hdsens.optim.checks import check_moments, refuse_capture
from hdsens.optim.hypergradient import HypergradientOptimizer
from hdsens.optim.joined import Joined
from hdsens.optim.lr_rules import adapt_lr, measures_squares, step_lr
from hdsens.optim.packing import Member, Run, allocate, pieces, runs
from hdsens.optim.reductions import Sums, descent_gradient, products, scaled, total, widened
from hdsens.optim.workspace import room


class AdamHD(HypergradientOptimizer):
    """``torch.optim.Adam`` or ``AdamW`` with hypergradient descent on its learning rate.

    As `SGDHD`, with u_t = m̂_t / (√v̂_t + ε) (Algorithm 6 of arXiv 1703.04782). u_{t-1} is made
    again from the moments, so the state is Adam's own, and a run of Adam can be taken over.

    Args:
        params, lr, betas, eps, weight_decay, amsgrad, maximize: as in ``torch.optim.Adam``.
        hypergrad_lr: β, the learning rate of the learning rate; 0 gives ``torch.optim.Adam``. It
            is not scale-free: a loss multiplied by c wants β / c with the additive rule. The paper
            uses 1e-7 on MNIST and 1e-8 on CIFAR-10; choose it by powers of ten.
        rule, transition, lr_bounds: as in `SGDHD`.
        decoupled_weight_decay: True gives AdamW (whose own default of weight_decay is 0.01, not
            0): the decay is no part of g and u in h_t.
        foreach: False works tensor by tensor; otherwise tensors are worked on together.
        fused: True lets torch's fused kernel do the update, the fastest way.

    Raises:
        ValueError: for an option that breaks its rule; TypeError for complex or sharded
            parameters, and RuntimeError from ``step`` for sparse gradients.
    """

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
                step = torch.as_tensor(kept["step"], dtype=torch.float32, device="cpu")
                kept["step"] = step.clone()  # what was loaded stays as it is

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        check_moments(type(self).__name__, options)

    def _step_group(self, index: int, params: list[Tensor]) -> None:
        refuse_capture(type(self).__name__, params)
        group = self.param_groups[index]
        settings = _settings(group)
        joined = self._joined(index, settings, params)
        parts = [
            _advance(settings, run.kind.still, *_vectors(group, settings, joined, run))
            if settings.advances(run.kind.still)
            else ()
            for run in joined.runs
        ]
        _finish(group, settings, joined, parts)

    @bookkeeping
    def _joined(self, index: int, settings: _Settings, params: list[Tensor]) -> Joined:
        def split() -> list[Run]:
            for param in params if settings.fused else []:
                require_fused_kernel(param)
            members = [_member(param, self.state[param]) for param in params]
            _start(members, settings.names)
            return list(runs(members, settings.names, settings.singly))

        return self._kept_or_new(index, params, (settings.names, settings.singly), split)


class _Kind(NamedTuple):
    """Steps taken so far; u_{t-1} = 0, as at first and after a step without gradient."""

    steps: float
    still: bool


class _Settings(NamedTuple):
    """What of a param group the kernel needs; never the lr, which changes every step."""

    beta1: float
    beta2: float
    weight_decay: float
    amsgrad: bool
    maximize: bool
    fused: bool
    measured: bool
    squares: bool
    singly: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The state kept; u_t is made of the first and the last."""
        names = ("exp_avg", "exp_avg_sq")
        return (*names, "max_exp_avg_sq") if self.amsgrad else names

    def measures(self, still: bool) -> bool:
        """Whether a run that is still or not has anything to say about lr."""
        return self.measured and (self.squares or not still)

    def advances(self, still: bool) -> bool:
        """Whether there is work to do before lr is known."""
        return not self.fused or self.measures(still)


def _settings(group: dict[str, Any]) -> _Settings:
    return _Settings(
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=0 if group["decoupled_weight_decay"] else group["weight_decay"],
        amsgrad=group["amsgrad"],
        maximize=group["maximize"],
        fused=bool(group["fused"]),
        measured=group["hypergrad_lr"] != 0,
        squares=measures_squares(group),
        singly=group["foreach"] is False,
    )


def _member(param: Tensor, state: dict[str, Any]) -> Member:
    if "step" not in state:
        state.clear()
    steps = state["step"].item() if state else 0.0
    idle = state.pop("idle", None) is not None
    return Member(param, state, _Kind(steps, idle or steps == 0))


def _start(members: list[Member], names: tuple[str, ...]) -> None:
    """Give members what they lack: all of it at first, the maximum where amsgrad comes later."""
    late = [member for member in members if member.state and names[-1] not in member.state]
    allocate(members, names)
    for member in late:
        member.state[names[-1]].copy_(member.state["exp_avg_sq"])
    for member in members:
        if "step" not in member.state:
            member.state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")


@bookkeeping
def _vectors(
    group: dict[str, Any], settings: _Settings, joined: Joined, run: Run
) -> tuple[Tensor, ...]:
    """A number, then gradient, parameters and moments of a run.

    u_{t-1} = m̂ / (√v̂ + ε) is m / (√v + the number), times `_scale`.
    """
    gradient = joined.gradient(run)
    param = joined.params_of(run) if settings.weight_decay != 0 else gradient
    _, root = bias_corrections(group, _steps(run))
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    floor = torch.tensor(group["eps"] * root, dtype=dtype, device="cpu")
    return floor, gradient, param, *run.vectors


def _scale(group: dict[str, Any], run: Run) -> float:
    debias, root = bias_corrections(group, _steps(run))
    return root / debias


def _steps(run: Run) -> float:
    steps: float = run.states[0]["step"].item()
    return max(steps, 1.0)


def _advance(settings: _Settings, still: bool, floor: Tensor, *vectors: Tensor) -> Sums:
    """Measure g_t against u_{t-1}, then move the moments on, unless a fused update will."""
    parts = []
    for gradient, param, *moments in pieces(*vectors):
        g = descent_gradient(gradient, param, settings.weight_decay, settings.maximize)
        if settings.measures(still):
            u = None if still else _ratio(moments[0], moments[-1], floor)
            parts.append(products(g, u, settings.squares))
        if not settings.fused:
            moments[0].lerp_(g, 1 - settings.beta1)
            moments[1].mul_(settings.beta2).addcmul_(g, g, value=1 - settings.beta2)
        if settings.amsgrad and not settings.fused:
            torch.maximum(moments[2], moments[1], out=moments[2])
    return total(parts)


def _ratio(first: Tensor, second: Tensor, floor: Tensor) -> Tensor:
    first, second = widened(first), widened(second)
    spare = room("direction", first, len(first))
    return torch.div(first, torch.sqrt(second, out=spare).add_(floor), out=spare)


@bookkeeping
def _finish(group: dict[str, Any], settings: _Settings, joined: Joined, parts: list[Sums]) -> None:
    measured = [(run, sums) for run, sums in zip(joined.runs, parts, strict=True) if sums]
    adapt_lr(group, [scaled(sums, _scale(group, run)) for run, sums in measured])
    lr = step_lr(group)
    if settings.fused:
        descend_fused(group, joined, lr)
    else:
        descend(group, joined, lr)
