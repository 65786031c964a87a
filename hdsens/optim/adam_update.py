"""θ_t = θ_{t-1} − γ_t m̂_t / (√v̂_t + ε), in the order of operations that torch's Adam has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from hdsens.optim.joined import Joined
from hdsens.optim.packing import Run, pieces
from hdsens.optim.workspace import room


def bias_corrections(group: dict[str, Any], steps: float) -> tuple[float, float]:
    """What m is divided by after so many steps, and what √v is."""
    beta1, beta2 = group["betas"]
    return 1 - beta1**steps, (1 - beta2**steps) ** 0.5


def descend(group: dict[str, Any], joined: Joined, lr: float | Tensor) -> None:
    """Update parameters by moments that have taken in this step's gradient already.

    A tensor lr is not read by the host.
    """
    for run in joined.runs:
        torch._foreach_add_([state["step"] for state in run.states], 1)
        if group["decoupled_weight_decay"] and group["weight_decay"] != 0:
            torch._foreach_mul_(run.params, _beside(run, 1 - lr * group["weight_decay"]))
        debias, root = bias_corrections(group, run.states[0]["step"].item())
        for part in _parts(joined, run):
            torch.sqrt(part.second, out=part.spare).div_(root).add_(group["eps"])
            if isinstance(lr, Tensor):
                torch.div(part.first, part.spare, out=part.spare)
                part.spare.mul_(_beside(run, lr / debias))
                torch._foreach_sub_(part.params, part.spares)
            else:
                torch._foreach_addcdiv_(part.params, part.firsts, part.spares, -(lr / debias))


def descend_fused(group: dict[str, Any], joined: Joined, lr: float | Tensor) -> None:
    """Let torch's fused kernel advance the moments and update the parameters."""
    params = [param for run in joined.runs for param in run.params]
    states = [state for run in joined.runs for state in run.states]
    steps = [step for run in joined.runs for step in _steps_beside(run)]
    firsts = [state["exp_avg"] for state in states]
    grads = _laid_out_as(firsts, [p.grad for p in params if p.grad is not None])
    dense = _laid_out_as(firsts, params)
    update = adamw if group["decoupled_weight_decay"] else adam
    update(
        dense,
        grads,
        firsts,
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
        steps,
        fused=True,
        amsgrad=group["amsgrad"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=lr,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )
    for state, step in zip(states, steps, strict=True):
        if state["step"] is not step:
            state["step"].add_(1)
    if dense is not params:
        torch._foreach_copy_(params, dense)


def _laid_out_as(slots: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """The tensors, or copies laid out as `slots`: the kernel goes by the order in memory alone."""
    if all(map(Tensor.is_contiguous, tensors)) and all(map(Tensor.is_contiguous, slots)):
        return tensors
    return [
        tensor if tensor.stride() == slot.stride() else torch.empty_like(slot).copy_(tensor)
        for slot, tensor in zip(slots, tensors, strict=True)
    ]


def _steps_beside(run: Run) -> Sequence[Tensor]:
    """The step counts where the parameters are: the fused kernel wants them there."""
    own = [state["step"] for state in run.states]
    device = run.params[0].device
    if device.type == "cpu":
        return own
    return torch.full((len(own),), own[0].item(), dtype=torch.float32, device=device).unbind()


class _Part(NamedTuple):
    """Parameters and first moments tensor by tensor; both moments and spare memory as wholes."""

    params: list[Tensor]
    firsts: list[Tensor]
    spares: list[Tensor]
    first: Tensor
    second: Tensor
    spare: Tensor


def _parts(joined: Joined, run: Run) -> Iterable[_Part]:
    first, second = run.vectors[0], run.vectors[-1]
    if len(run.params) > 1:
        spare, spares = joined.copies.laid_out_as(run)
        return [_Part(run.params, run.slots[0], spares, first, second, spare)]
    param, slot = run.params[0], run.slots[0][0]
    if param.stride() != slot.stride():
        spare = torch.empty_like(slot)
        return [_Part([param], [slot], [spare], slot, run.slots[-1][0], spare)]
    flat = param.as_strided((param.numel(),), (1,))
    return (_piece(p, m, v) for p, m, v in pieces(flat, first, second))


def _piece(param: Tensor, first: Tensor, second: Tensor) -> _Part:
    spare = room("direction", second, len(second))
    spare = torch.empty_like(second) if spare is None else spare
    return _Part([param], [first], [spare], first, second, spare)


def _beside(run: Run, value: Any) -> Any:
    """A number as it is, a tensor on the run's device."""
    return value.to(run.params[0].device) if isinstance(value, Tensor) else value
