"""Every name that torch does not document, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch.optim.optimizer import _use_grad_for_differentiable as without_grad

__all__ = [
    "bookkeeping",
    "bookkeeping_around_kernels",
    "without_grad",
]

F = TypeVar("F", bound=Callable[..., Any])


def bookkeeping(function: F) -> F:
    """Keep `function`, and all that it calls, out of ``torch.compile``."""
    return cast(F, torch._disable_dynamo(function))  # type: ignore[attr-defined]


def bookkeeping_around_kernels(function: F) -> F:
    """Keep `function` itself out of ``torch.compile``, but not what it calls."""
    disabled = torch._disable_dynamo(function, recursive=False)  # type: ignore[attr-defined]
    return cast(F, disabled)
