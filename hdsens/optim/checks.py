"""What the optimizers accept, and the sentence a person reads when it is something else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

RULES = ("additive", "multiplicative")


def check_options(owner: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for the first option of a param group that breaks its rule."""
    _check_lr(owner, options["lr"])
    _check_non_negative(owner, options, "hypergrad_lr", "use 0 for the base algorithm")
    _check_rule(owner, options["rule"])
    _check_transition(owner, options["transition"])
    _check_bounds(owner, options["lr_bounds"], options["lr"])
    _check_non_negative(owner, options, "weight_decay", "use 0 for none")


def check_momentum(owner: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError unless momentum, dampening and nesterov go together as in torch's SGD."""
    _check_non_negative(owner, options, "momentum", "use 0 for none")
    momentum, dampening = options["momentum"], options["dampening"]
    if options["nesterov"] and (momentum <= 0 or dampening != 0):
        got = f"momentum={momentum}, dampening={dampening}"
        raise refusal(owner, "nesterov needs momentum > 0 and dampening = 0", got)


def check_moments(owner: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError unless betas lie in [0, 1) and eps is at least 0."""
    _check_non_negative(owner, options, "eps", "Adam's own is 1e-8")
    betas = options["betas"]
    if not (isinstance(betas, tuple | list) and len(betas) == 2 and all(map(_is_decay, betas))):
        raise refusal(owner, "betas must be two floats in [0, 1)", betas, "Adam's are (0.9, 0.999)")


def refusal(owner: str, rule: str, value: object, remedy: str = "") -> ValueError:
    """The error for an option of `owner` that breaks `rule`, echoing `value`."""
    return ValueError(f"{owner}: {rule} (got {value})" + (f"; {remedy}" if remedy else ""))


def check_real(owner: str, params: Iterable[Tensor]) -> None:
    """Raise TypeError for the first complex parameter."""
    for param in params:
        if param.is_complex():
            rule = f"{owner}: parameters must be real (got {param.dtype})"
            raise TypeError(f"{rule}; optimize torch.view_as_real of it")


def sparse_refusal(owner: str, gradient: Tensor) -> RuntimeError:
    """The error for a gradient that is not dense, echoing its layout."""
    rule = f"{owner}: gradients must be dense (got {gradient.layout})"
    return RuntimeError(f"{rule}; build the embedding with sparse=False")


def _check_lr(owner: str, lr: Any) -> None:
    if isinstance(lr, Tensor):
        if lr.numel() != 1 or not lr.is_floating_point():
            shape = f"{lr.dtype} of shape {tuple(lr.shape)}"
            raise refusal(owner, "a tensor lr must be floating-point with one element", shape)
        if lr.is_meta:
            return
        lr = lr.item()
    if not _is_number(lr) or not 0 <= lr < math.inf:
        raise refusal(owner, "lr must be a finite number >= 0", lr, "0 is allowed")


def _check_non_negative(owner: str, options: Mapping[str, Any], name: str, remedy: str) -> None:
    value = options[name]
    if not _is_number(value) or not 0 <= value < math.inf:
        raise refusal(owner, f"{name} must be a finite number >= 0", value, remedy)


def _check_rule(owner: str, rule: object) -> None:
    if rule not in RULES:
        raise refusal(owner, "rule must be 'additive' or 'multiplicative'", repr(rule))


def _check_transition(owner: str, transition: object) -> None:
    if transition is None:
        return
    final, power = _pair(owner, "transition must be (final_lr, power)", transition)
    if not (0 <= final < math.inf and 0 < power < math.inf):
        rule = "transition must be (final_lr >= 0, power > 0), both finite"
        raise refusal(owner, rule, transition, "the paper's example has power 2")


def _check_bounds(owner: str, bounds: object, lr: Any) -> None:
    if bounds is None:
        return
    low, high = _pair(owner, "lr_bounds must be (low, high)", bounds)
    if not low <= high:
        raise refusal(owner, "lr_bounds must be (low, high) with low <= high", bounds)
    if isinstance(lr, Tensor) and lr.is_meta:
        return
    if not low <= lr <= high:
        raise refusal(owner, f"lr must lie within lr_bounds {bounds}", lr)


def _pair(owner: str, rule: str, value: object) -> tuple[float, float]:
    if isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_number, value)):
        return float(value[0]), float(value[1])
    raise refusal(owner, rule, repr(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_decay(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1
