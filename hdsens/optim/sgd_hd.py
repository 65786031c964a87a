"""SGD, with or without momentum, whose learning rate is learned (SGD-HD, SGDN-HD)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from hdsens.optim._torch_private import bookkeeping
from hdsens.optim.checks import check_momentum
from hdsens.optim.hypergradient import HypergradientOptimizer
from hdsens.optim.joined import Joined
from hdsens.optim.lr_rules import adapt_lr, measures_squares, step_lr
from hdsens.optim.packing import Member, Run, allocate, pieces, runs
from hdsens.optim.reductions import Sums, descent_gradient, products, total


class SGDHD(HypergradientOptimizer):
    """``torch.optim.SGD`` with hypergradient descent on its learning rate.

    Before each update the learning rate moves along h_t = g_t · u_{t-1}, the dot product of the
    gradient (L2 term included) with the direction of the step before, over all parameters of a
    param group (Algorithms 4 and 5 of arXiv 1703.04782)::

        lr ← lr + hypergrad_lr · h_t                            rule="additive", Eq. 6
        lr ← lr (1 + hypergrad_lr · h_t / (‖g_t‖ ‖u_{t-1}‖))    rule="multiplicative", Eq. 8
        θ  ← θ − lr · u_t

    with u_t = g_t, or torch's momentum buffer, or g_t + momentum times it for ``nesterov``. u_0 is
    0, so the first step uses the lr given. The lr of the last step is ``param_groups[i]["lr"]``;
    set it at any time and it is adapted from there.

    Args:
        params, lr, momentum, dampening, weight_decay, nesterov, maximize: as in
            ``torch.optim.SGD``. lr may be 0 (with the additive rule). A float lr stays a float,
            for which the host waits for the device once a step; a tensor lr is copied, stays on
            its device, and is never read by the host.
        hypergrad_lr: β, the learning rate of the learning rate; 0 gives ``torch.optim.SGD``. It is
            not scale-free: a loss multiplied by c wants β / c³ with the additive rule. The paper
            uses 1e-3 on MNIST and CIFAR-10; choose it by powers of ten, and distrust one that moves
            lr by more than a tenth of itself a step.
        rule: "additive" or "multiplicative". The latter cannot leave lr = 0; its hypergrad_lr is
            the largest relative change of lr a step (the paper tries 0.02).
        transition: (final_lr, power): steps use t^-power lr + (1 − t^-power) final_lr at step t
            (Section 5.1). None: they use lr.
        lr_bounds: (low, high), to which lr is clipped after it has moved. None: it may go
            anywhere, below 0 too.
        foreach: False works tensor by tensor. Otherwise tensors are worked on together, which
            gives the same parameters for the same lr and differs in the order of the dot
            product's sum.

    Raises:
        ValueError: for an option that breaks its rule; TypeError for complex or sharded
            parameters, and RuntimeError from ``step`` for sparse gradients.

    State: one copy of the gradient, u_t, as ``direction``; with momentum ``momentum_buffer``
    serves as u_t, unless ``nesterov``, which keeps both.
    """

    own_defaults: ClassVar[dict[str, Any]] = {
        "momentum": 0,
        "dampening": 0,
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
        """Raises ValueError for an option that breaks its rule, echoing it."""
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

    def _step_group(self, index: int, params: list[Tensor]) -> None:
        settings = _settings(self.param_groups[index])
        joined = self._joined(index, settings, params)
        parts = [
            _advance(settings, run.kind, *_vectors(settings, joined, run)) for run in joined.runs
        ]
        _finish(self.param_groups[index], joined, parts)

    @bookkeeping
    def _joined(self, index: int, settings: _Settings, params: list[Tensor]) -> Joined:
        def split() -> list[Run]:
            members = [_member(param, self.state[param], settings) for param in params]
            allocate(members, settings.names)
            return list(runs(members, settings.names, settings.singly))

        return self._kept_or_new(index, params, (settings.names, settings.singly), split)


class _Settings(NamedTuple):
    """What of a param group the kernel needs; never the lr, which changes every step."""

    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool
    maximize: bool
    measured: bool
    squares: bool
    singly: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The state kept; the last one is the direction u_t."""
        if self.momentum == 0:
            return ("direction",)
        return ("momentum_buffer", "direction") if self.nesterov else ("momentum_buffer",)


class _Kind(NamedTuple):
    """No momentum buffer yet; u_{t-1} = 0, as at first and after a step without gradient."""

    unbuffered: bool
    still: bool


def _settings(group: dict[str, Any]) -> _Settings:
    return _Settings(
        group["momentum"],
        group["dampening"],
        group["weight_decay"],
        group["nesterov"],
        group["maximize"],
        measured=group["hypergrad_lr"] != 0,
        squares=measures_squares(group),
        singly=group["foreach"] is False,
    )


def _member(param: Tensor, state: dict[str, Any], settings: _Settings) -> Member:
    """A parameter and its kind; of state that other options kept, a momentum buffer serves."""
    idle = state.pop("idle", None) is not None
    kept = {name: value for name, value in state.items() if value is not None}  # torch saves None
    if kept.keys() != set(settings.names):
        idle = True
        state.clear()
        if "momentum_buffer" in kept and settings.momentum != 0:
            state["momentum_buffer"] = kept["momentum_buffer"]
    return Member(param, state, _Kind("momentum_buffer" not in state, idle))


@bookkeeping
def _vectors(settings: _Settings, joined: Joined, run: Run) -> tuple[Tensor, ...]:
    """Gradient, parameters and kept state of a run."""
    gradient = joined.gradient(run)
    param = joined.params_of(run) if settings.weight_decay != 0 else gradient
    return gradient, param, *run.vectors


def _advance(settings: _Settings, kind: _Kind, *vectors: Tensor) -> Sums:
    """Measure g_t against u_{t-1}, then make u_t of it, in place in the last vector."""
    parts = []
    for gradient, param, *kept in pieces(*vectors):
        g = descent_gradient(gradient, param, settings.weight_decay, settings.maximize)
        u = kept[-1]
        if settings.measured and (settings.squares or not kind.still):
            parts.append(products(g, None if kind.still else u, settings.squares))
        if kind.unbuffered:
            kept[0].copy_(g)
        else:
            kept[0].mul_(settings.momentum).add_(g, alpha=1 - settings.dampening)
        if settings.nesterov:
            torch.add(g, kept[0], alpha=settings.momentum, out=u)
    return total(parts)


@bookkeeping
def _finish(group: dict[str, Any], joined: Joined, parts: list[Sums]) -> None:
    adapt_lr(group, parts)
    lr = step_lr(group)
    for run in joined.runs:
        _descend(run.params, run.slots[-1], lr)


def _descend(params: list[Tensor], directions: list[Tensor], lr: float | Tensor) -> None:
    """θ_t = θ_{t-1} − γ_t u_t."""
    if isinstance(lr, Tensor):
        scale = lr.to(params[0].device, params[0].dtype)
        torch._foreach_sub_(params, torch._foreach_mul(directions, scale))
    else:
        torch._foreach_add_(params, directions, alpha=-lr)
