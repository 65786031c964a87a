"""Every name that torch does not document, in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.optim.optimizer import _device_dtype_check_for_fused as require_fused_kernel
from torch.optim.optimizer import _use_grad_for_differentiable as without_grad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

__all__ = [
    "bookkeeping",
    "is_fsdp_shard",
    "is_wrapper",
    "keep_out_of_compilation",
    "require_fused_kernel",
    "sharding_caller",
    "without_grad",
]

F = TypeVar("F", bound=Callable[..., Any])


def bookkeeping(function: F) -> F:
    """Keep `function`, and all that it calls, out of ``torch.compile``."""
    return cast(F, torch._disable_dynamo(function))  # type: ignore[attr-defined]


def is_wrapper(tensor: Tensor) -> bool:
    """Whether a tensor only stands for others, as a DTensor for its shards."""
    return bool(is_traceable_wrapper_subclass(tensor))


def is_fsdp_shard(tensor: Tensor) -> bool:
    """Whether FullyShardedDataParallel (FSDP1) made it, with or without ``use_orig_params``."""
    return bool(getattr(tensor, "_fsdp_flattened", False))


def sharding_caller() -> str | None:
    """The class of the optimizer that is making one for its rank's parameters alone, if any."""
    module = sys.modules.get("torch.distributed.optim")
    sharding = getattr(module, "ZeroRedundancyOptimizer", None)
    if sharding is None:
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), sharding):
            return "ZeroRedundancyOptimizer"
        frame = frame.f_back
    return None


def keep_out_of_compilation(function: Callable[..., Any]) -> None:
    """Keep `function` itself out of ``torch.compile``, but not what it calls.

    ``torch.compiler.disable(recursive=False)`` keeps out its own wrapper only, so that `function`
    is traced after all, and in vain at every step.
    """
    from torch._dynamo.decorators import skip  # slow, and torch.optim's constructor needs it too

    skip(function)
