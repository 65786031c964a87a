"""What the optimizers accept, and the sentence a person reads when it is something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from hdsens.optim._torch_private import is_fsdp_shard, is_wrapper, sharding_caller

RULES = ("additive", "multiplicative")
UNSUPPORTED = ("capturable", "differentiable")


def check_options(owner: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for the first option of a param group that breaks its rule."""
    _check_lr(owner, options["lr"])
    _check_non_negative(owner, options, "hypergrad_lr", "use 0 for the base algorithm")
    if options["rule"] not in RULES:
        rule = "rule must be 'additive' or 'multiplicative'"
        raise _refusal(owner, rule, repr(options["rule"]), "the paper's is 'additive'")
    _check_transition(owner, options["transition"])
    _check_bounds(owner, options["lr_bounds"], options["lr"])
    _check_non_negative(owner, options, "weight_decay", "use 0 for none")
    _refuse_unsupported(owner, options, UNSUPPORTED)


def check_momentum(owner: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError unless momentum, dampening and nesterov go together as in torch's SGD.

    ``fused``, which `SGDHD` has no kernel for, is refused as well.
    """
    _refuse_unsupported(owner, options, ["fused"])
    momentum, dampening = options["momentum"], options["dampening"]
    _check_non_negative(owner, options, "momentum", "use 0 for none")
    if not _is_finite(dampening):
        raise _refusal(
            owner, "dampening must be a finite number", repr(dampening), "use 0 for none"
        )
    if options["nesterov"] and (momentum <= 0 or dampening != 0):
        got = f"momentum={momentum}, dampening={dampening}"
        rule = "nesterov needs momentum > 0 and dampening = 0"
        raise _refusal(owner, rule, got, "use nesterov=False")


def check_moments(owner: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError unless betas lie in [0, 1), eps is at least 0, and one kernel is named."""
    _check_non_negative(owner, options, "eps", "Adam's is 1e-8")
    betas = options["betas"]
    if not _is_pair(betas) or not all(0 <= beta < 1 for beta in betas):
        rule = "betas must be two floats in [0, 1)"
        raise _refusal(owner, rule, repr(betas), "Adam's are (0.9, 0.999)")
    if options["foreach"] and options["fused"]:
        rule = "foreach and fused exclude each other"
        raise _refusal(owner, rule, "foreach=True, fused=True", "pass one of them")


def check_plain(owner: str, params: Iterable[Tensor]) -> None:
    """Raise TypeError for the first complex parameter, or one of which a rank has a shard."""
    for param in params:
        if param.is_complex():
            rule = f"{owner}: parameters must be real (got {param.dtype})"
            raise TypeError(f"{rule}; optimize torch.view_as_real of it")
        if is_wrapper(param):
            raise _sharded(owner, type(param).__name__)
        if is_fsdp_shard(param):
            raise _sharded(owner, "a shard of FullyShardedDataParallel")


def refuse_sharding(owner: str) -> None:
    """Raise TypeError inside a ZeroRedundancyOptimizer: each rank would adapt an lr of its own."""
    caller = sharding_caller()
    if caller is not None:
        raise _sharded(owner, f"one rank's part from {caller}")


def sparse_refusal(owner: str, gradient: Tensor) -> RuntimeError:
    """The error for a gradient that is not dense, echoing its layout."""
    rule = f"{owner}: gradients must be dense (got {gradient.layout})"
    return RuntimeError(f"{rule}; build the embedding with sparse=False")


def refuse_capture(owner: str, params: Sequence[Tensor]) -> None:
    """Raise RuntimeError inside a CUDA graph's capture, which would repeat one step's numbers."""
    if params[0].is_cuda and torch.cuda.is_current_stream_capturing():
        rule = f"{owner}: step() cannot be captured in a CUDA graph, since it counts on the host"
        raise RuntimeError(f"{rule}; capture forward and backward, and step outside")


def _sharded(owner: str, got: str) -> TypeError:
    rule = f"{owner}: parameters must be plain tensors (got {got})"
    return TypeError(f"{rule}; replicate them, as DistributedDataParallel does")


def _refuse_unsupported(owner: str, options: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if options.get(name):
            remedy = "torch.optim has it where it is needed"
            raise _refusal(owner, f"{name} is not supported", repr(options[name]), remedy)


def _check_lr(owner: str, lr: Any) -> None:
    if isinstance(lr, Tensor):
        if lr.numel() != 1 or not lr.is_floating_point():
            rule = "a tensor lr must be floating-point with one element"
            got = f"{lr.dtype} of shape {tuple(lr.shape)}"
            raise _refusal(owner, rule, got, "pass torch.tensor(0.1)")
        lr = 0.0 if lr.is_meta else lr.item()
    if not _is_finite(lr) or lr < 0:
        raise _refusal(owner, "lr must be a finite number >= 0", repr(lr), "0 is allowed")


def _check_non_negative(owner: str, options: Mapping[str, Any], name: str, remedy: str) -> None:
    if not _is_finite(options[name]) or options[name] < 0:
        rule = f"{name} must be a finite number >= 0"
        raise _refusal(owner, rule, repr(options[name]), remedy)


def _check_transition(owner: str, transition: Any) -> None:
    if transition is None:
        return
    remedy = "the paper's example has power 2"
    if not _is_pair(transition):
        raise _refusal(owner, "transition must be (final_lr, power)", repr(transition), remedy)
    if transition[0] < 0 or transition[1] <= 0:
        rule = "transition must be (final_lr >= 0, power > 0), both finite"
        raise _refusal(owner, rule, repr(transition), remedy)


def _check_bounds(owner: str, bounds: Any, lr: Any) -> None:
    if bounds is None:
        return
    if not _is_pair(bounds, _is_number) or not bounds[0] <= bounds[1]:
        rule = "lr_bounds must be (low, high) with low <= high"
        raise _refusal(owner, rule, repr(bounds), "use None for no bounds")
    inside = (isinstance(lr, Tensor) and lr.is_meta) or bounds[0] <= lr <= bounds[1]
    if not inside:
        rule = f"lr must lie within lr_bounds {tuple(bounds)}"
        raise _refusal(owner, rule, repr(lr), "widen them or start inside")


def _refusal(owner: str, rule: str, got: str, remedy: str) -> ValueError:
    return ValueError(f"{owner}: {rule} (got {got}); {remedy}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _is_pair(value: object, of: Callable[[object], bool] = _is_finite) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(of, value))
