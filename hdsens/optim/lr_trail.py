"""Noticing that something else puts a learned lr back.

A scheduler that goes by the lr noted at the start, as ``LambdaLR`` does, undoes at every step what
hypergradient descent did to lr, and nothing fails. So a param group keeps a trail: the lr that each
of its last steps found, f_t, and the lr that it left, l_t. Ten steps that all moved lr are judged
together. lr was put back if every step found exactly the lr that the step before it found, or if
f_{t+1} / f_t is steadier than f_{t+1} / l_t: a scheduler's own factor changes little from step to
step, and it is the former where lr is overwritten, the latter where lr is kept. So that a smooth
descent does not pass for a scheduler, either log f_{t+1} must always be nearer to log f_t than to
log l_t, or the factor f_{t+1} / l_t must jump, as only hypergradients do.

`docs/decisions/overwritten-lr.md` has the error rates.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

STEPS = 10  # judged together
STEADIER = 4.0  # so many times less does the overwriting scheduler's factor change than the other
JUMPS = 0.1  # share of itself by which a factor that jumps leaves its trend, at least


def follow(group: dict[str, Any], found: float | Tensor, left: float | Tensor) -> None:
    """Add a step that measured a hypergradient to the trail of its group; judge ten of them.

    The judgement, ``group["lr_overwritten"]``, is a bool on the host that an accelerator fills in
    when it gets there: no step waits for it.
    """
    trail = group.get("lr_trail", ())
    if trail is None:  # a warning has been given
        return
    if len(trail) == STEPS:
        group["lr_overwritten"] = _on_host(_is_overwritten(trail, found))
        trail = ()
    group["lr_trail"] = () if _surely_equal(found, left) else (*trail, (found, left))


def warn_where_overwritten(owner: str, groups: Sequence[dict[str, Any]]) -> None:
    """Warn if a group's lr was overwritten, and follow none of the groups any more."""
    if not any(group.get("lr_overwritten") for group in groups):
        return
    if not any(group.get("lr_trail", ()) is None for group in groups):
        warnings.warn(_WARNING.format(owner=owner, steps=STEPS), UserWarning, stacklevel=3)
    for group in groups:
        group.pop("lr_overwritten", None)
        group["lr_trail"] = None


_WARNING = (
    "{owner}: lr must be left as step() leaves it, or scaled from there (in {steps} steps in a row "
    "a scheduler put it back to its own schedule, so that nothing is learned); use "
    "hdsens.optim.keep_lr(optimizer) as the scheduler, or one that docs/optimizers.md lists as "
    "keeping lr"
)


def _is_overwritten(trail: Sequence[tuple[Any, Any]], last: Any) -> Tensor:
    """Whether lr was moved at every step of the trail and then put back; a bool beside lr."""
    found = _vector([*(pair[0] for pair in trail), last])
    left = _vector([pair[1] for pair in trail])
    before, after = found[:-1], found[1:]
    moved, exactly = (left != before).all(), (after == before).all()
    own, other = (after / before).log(), (after / left).log()
    nearer = (own.abs() < other.abs()).all()
    jumps = _change(other, 2) > JUMPS * other.abs().sum()
    by_schedule = (nearer & _steadier(own, other, 1)) | (jumps & _steadier(own, other, 2))
    return moved & (exactly | by_schedule)


def _steadier(own: Tensor, other: Tensor, order: int) -> Tensor:
    rounding = STEPS * 8 * order * torch.finfo(own.dtype).eps
    return _change(other, order) > STEADIER * _change(own, order) + rounding


def _change(logs: Tensor, order: int) -> Tensor:
    """From step to step, or of its trend, summed; NaN where an lr was not positive."""
    return logs.diff(n=order).abs().sum()


def _vector(lrs: Sequence[Any]) -> Tensor:
    """Learning rates of one group, which may have become a tensor or moved meanwhile."""
    last = lrs[-1]
    if not isinstance(last, Tensor):
        return torch.tensor([float(lr) for lr in lrs], dtype=torch.float64, device="cpu")
    return torch.stack([torch.as_tensor(lr, dtype=last.dtype, device=last.device) for lr in lrs])


def _surely_equal(found: float | Tensor, left: float | Tensor) -> bool:
    """False where only an accelerator knows."""
    return (not isinstance(left, Tensor) or left.device.type == "cpu") and bool(found == left)


def _on_host(verdict: Tensor) -> bool | Tensor:
    if verdict.is_meta:
        return False
    if verdict.device.type == "cpu":
        return bool(verdict)
    host = torch.zeros((), dtype=torch.bool, device="cpu", pin_memory=verdict.is_cuda)
    return host.copy_(verdict, non_blocking=True)
