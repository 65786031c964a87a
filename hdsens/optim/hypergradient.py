"""What SGDHD and AdamHD share: a learning rate that follows its own gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from hdsens.optim._torch_private import default_to_fused_or_foreach, without_grad
from hdsens.optim.checks import check_options
from hdsens.optim.reductions import Products

HYPERGRADIENT_DEFAULTS: dict[str, Any] = {
    "rule": "additive",
    "transition": None,
    "lr_bounds": None,
    "maximize": False,
    "foreach": None,
    "differentiable": False,
}


class HypergradientOptimizer(Optimizer):
    """A torch optimizer whose param groups adapt their ``lr`` before every parameter update.

    A subclass names its own options' defaults, checks them, and makes one group's step.
    """

    own_defaults: dict[str, Any]

    def __init__(self, params: ParamsT, options: dict[str, Any]) -> None:
        self._check(options)
        super().__init__(params, {**options, "lr": _own(options["lr"]), "differentiable": False})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        known = {**HYPERGRADIENT_DEFAULTS, **self.own_defaults}
        for group in self.param_groups:
            for name, value in known.items():
                group.setdefault(name, self.defaults.get(name, value))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group with a learning rate of its own; the caller's dict and tensors stay as is.

        Raises ValueError for an option that breaks its rule and TypeError for a complex tensor.
        """
        copied = dict(param_group) if isinstance(param_group, dict) else param_group
        super().add_param_group(copied)
        group = self.param_groups.pop()
        self._check(group)
        self._refuse_complex(group["params"])
        group["lr"] = _own(group["lr"])
        self.param_groups.append(group)

    @without_grad
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Adapt every group's lr, then its parameters; returns the closure's value, if any.

        Raises RuntimeError for a sparse gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = self._params_with_grad(group)
            if params:
                self._step_group(group, params)
        return loss

    def _check(self, options: dict[str, Any]) -> None:
        check_options(type(self).__name__, options)

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        raise NotImplementedError

    def _refuse_complex(self, params: list[Tensor]) -> None:
        for param in params:
            if torch.is_complex(param):
                name = type(self).__name__
                raise TypeError(
                    f"{name}: parameters must be real (got {param.dtype}); "
                    "pass torch.view_as_real(parameter)"
                )

    def _params_with_grad(self, group: dict[str, Any]) -> list[Tensor]:
        params = []
        for param in group["params"]:
            if param.grad is None:
                self._sit_out(param)
                continue
            if param.grad.is_sparse:
                name = type(self).__name__
                raise RuntimeError(
                    f"{name}: gradients must be dense (got {param.grad.layout}); "
                    "use sparse=False in the embedding"
                )
            params.append(param)
        return params

    def _sit_out(self, param: Tensor) -> None:
        """A parameter that this step leaves alone has no direction for the next dot product."""
        state = self.state.get(param)
        if state:
            state["idle"] = torch.ones(())


def wants_foreach(group: dict[str, Any], params: list[Tensor]) -> bool:
    """Whether a group's step runs over lists of tensors, chosen as torch.optim chooses."""
    if group["foreach"] is not None:
        return bool(group["foreach"])
    return default_to_fused_or_foreach(params, False, use_fused=False)[1]


def adapt_lr(group: dict[str, Any], products: Products | None) -> None:
    """Eq. 6 or Eq. 8, then the bounds; ``None`` stands for u_0 = 0, which changes nothing."""
    if products is None or group["hypergrad_lr"] == 0:
        return
    if isinstance(group["lr"], Tensor):
        _adapt_tensor_lr(group, products)
    else:
        _adapt_float_lr(group, products)


def step_lr(group: dict[str, Any]) -> float | Tensor:
    """The learning rate of this step's parameter update: lr, or γ_t under a transition."""
    lr: float | Tensor = group["lr"]
    if group["transition"] is None:
        return lr
    final, power = group["transition"]
    t = group.setdefault("transition_step", _counter(lr))
    t += 1
    share = (t if isinstance(lr, Tensor) else t.item()) ** -power
    return share * lr + (1 - share) * final


def _adapt_float_lr(group: dict[str, Any], products: Products) -> None:
    lr, rate = group["lr"], group["hypergrad_lr"]
    if group["rule"] == "additive":
        lr = lr + rate * products.gradient_direction.item()
    else:
        lr = lr * (1 + rate * products.cosine().item())
    if group["lr_bounds"] is not None:
        low, high = group["lr_bounds"]
        lr = lr if math.isnan(lr) else min(max(lr, low), high)
    group["lr"] = lr


def _adapt_tensor_lr(group: dict[str, Any], products: Products) -> None:
    lr, rate = group["lr"], group["hypergrad_lr"]
    if group["rule"] == "additive":
        lr.add_(products.gradient_direction.to(lr), alpha=rate)
    else:
        lr.mul_(1 + rate * products.cosine().to(lr))
    if group["lr_bounds"] is not None:
        lr.clamp_(*group["lr_bounds"])


def _own(lr: Any) -> Any:
    return lr.detach().clone() if isinstance(lr, Tensor) else lr


def _counter(lr: float | Tensor) -> Tensor:
    return torch.zeros((), device=lr.device if isinstance(lr, Tensor) else "cpu")
