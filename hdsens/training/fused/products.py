"""Matrix products by the library that is quickest on the processor at hand."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Product(torch.autograd.Function):
    """``a @ b.T`` of matrices `(m, k)` and `(n, k)`, differentiable once."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """The product `(m, n)`."""
        ctx.save_for_backward(a, b)
        return product(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients by `a` and `b`, where wanted."""
        a, b = ctx.saved_tensors
        slope, (of_a, of_b) = slopes[0], ctx.needs_input_grad
        return (
            product(slope, b.t()) if of_a else None,
            product(slope.t(), a.t()) if of_b else None,
        )


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` of matrices `(m, k)` and `(n, k)`, without gradients."""
    if a.device.type == "cpu" and a.dtype == torch.float32 and _onednn_is_quicker():
        # A private name: torch has no public one that takes oneDNN's product of such tensors.
        result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
        return result
    return a @ b.t()


@lru_cache(maxsize=1)
def _onednn_is_quicker() -> bool:
    """On processors with AVX-512 that Intel has not made: there MKL, torch's own way, uses AVX2."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and not _made_by_intel() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _made_by_intel() -> bool:
    try:
        description = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        description = platform.processor()
    return "GenuineIntel" in description
