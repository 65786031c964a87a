"""Inner products over lists of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Products:
    """Inner products over one param group, 0-dimensional tensors.

    The squares are present only where a rule asks for them.
    """

    gradient_direction: Tensor
    gradient_gradient: Tensor | None = None
    direction_direction: Tensor | None = None

    def cosine(self) -> Tensor:
        """The cosine between g_t and u_{t-1}; 0 where one of them is 0."""
        assert self.gradient_gradient is not None
        assert self.direction_direction is not None
        norms = self.gradient_gradient.sqrt() * self.direction_direction.sqrt()
        return torch.where(norms > 0, self.gradient_direction / norms, torch.zeros_like(norms))


def inner(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of two tensors of one shape; halves are widened to float32 first."""
    return torch.dot(_wide(x).reshape(-1), _wide(y).reshape(-1))


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of 0-dimensional tensors, in the widest of their dtypes, on the first's device."""
    first = parts[0]
    if any(part.dtype != first.dtype or part.device != first.device for part in parts):
        parts = [part.to(first.device, torch.float64) for part in parts]
    return torch.stack(list(parts)).sum()


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
