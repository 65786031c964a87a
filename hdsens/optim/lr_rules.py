"""How a param group's learning rate moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdsens.optim.lr_trail import follow
from hdsens.optim.reductions import Sums, cosine, total


def adapt_lr(group: dict[str, Any], parts: Sequence[Sums]) -> None:
    """Apply Eq. 6 (or Eq. 8), then the bounds, to ``group["lr"]``.

    `parts` are `products` over parts of the group, empty where u_{t-1} = 0; none means no change.
    A tensor lr changes in place, without being read by the host.
    """
    if group["lr"] is group.get("initial_lr"):  # older SequentialLR makes them one
        group["lr"] = owned(group["lr"])
    sums = total([part for part in parts if part])
    if not sums:
        return
    slope = cosine(sums) if group["rule"] == "multiplicative" else sums[0]
    found = owned(group["lr"])
    if isinstance(group["lr"], Tensor):
        _adapt_tensor(group, slope)
    else:
        group["lr"] = _adapted(group, slope.item())
    follow(group, found, owned(group["lr"]))


def measures_squares(group: dict[str, Any]) -> bool:
    """Whether the group's rule needs g·g and u·u beside g·u."""
    return bool(group["rule"] == "multiplicative")


def step_lr(group: dict[str, Any]) -> float | Tensor:
    """γ_t, what this step multiplies u_t by: lr itself unless a transition is set (Section 5.1)."""
    lr: float | Tensor = group["lr"]
    lr = lr.reshape(()) if isinstance(lr, Tensor) else lr  # an assigned one may have a dimension
    if group["transition"] is None:
        return lr
    final, power = group["transition"]
    steps = group.setdefault("transition_steps", _counter_beside(lr))
    steps += 1
    share = steps.to(lr.dtype) ** -power if isinstance(lr, Tensor) else steps.item() ** -power
    return share * lr + (1 - share) * final  # type: ignore[no-any-return]


def owned(lr: Any) -> Any:
    """`lr`, as a copy where it is a tensor: the optimizer changes its own in place."""
    return lr.detach().clone().reshape(()) if isinstance(lr, Tensor) else lr


def _adapted(group: dict[str, Any], slope: float) -> float:
    lr, rate = group["lr"], group["hypergrad_lr"]
    lr = lr + rate * slope if group["rule"] == "additive" else lr * (1 + rate * slope)
    if group["lr_bounds"] is None or math.isnan(lr):
        return float(lr)
    low, high = group["lr_bounds"]
    return float(min(max(lr, low), high))


def _adapt_tensor(group: dict[str, Any], slope: Tensor) -> None:
    lr, rate = group["lr"], group["hypergrad_lr"]
    if group["rule"] == "additive":
        _add(lr, slope.to(lr.device), rate)
    else:
        lr.mul_(1 + rate * slope.to(lr.device, lr.dtype))
    if group["lr_bounds"] is not None:
        lr.clamp_(*group["lr_bounds"])


def _add(lr: Tensor, slope: Tensor, rate: float) -> None:
    """Add `rate` times the slope, which itself may be too large for lr's dtype."""
    exact = (lr + rate * slope).to(lr.dtype) if slope.dtype != lr.dtype else lr
    lr.add_(slope.to(lr.dtype), alpha=rate)
    if exact is not lr:
        lr.copy_(torch.where(lr.isfinite(), lr, exact))


def _counter_beside(lr: float | Tensor) -> Tensor:
    return torch.zeros((), device=lr.device if isinstance(lr, Tensor) else "cpu")
