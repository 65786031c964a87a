"""Every name that torch does not document, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch.optim.optimizer import _use_grad_for_differentiable as without_grad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

__all__ = [
    "bookkeeping",
    "is_wrapper",
    "keep_out_of_compilation",
    "without_grad",
]

F = TypeVar("F", bound=Callable[..., Any])


def bookkeeping(function: F) -> F:
    """Keep `function`, and all that it calls, out of ``torch.compile``."""
    return cast(F, torch._disable_dynamo(function))  # type: ignore[attr-defined]


def is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether a tensor only stands for others, as a DTensor for its shards."""
    return bool(is_traceable_wrapper_subclass(tensor))


def keep_out_of_compilation(function: Callable[..., Any]) -> None:
    """Keep `function` itself out of ``torch.compile``, but not what it calls.

    ``torch.compiler.disable(recursive=False)`` keeps out its own wrapper only, so that `function`
    is traced after all, and in vain at every step.
    """
    from torch._dynamo.decorators import skip  # slow, and torch.optim's constructor needs it too

    skip(function)
