"""Adamax for a pack."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from hdsens.training.fused.moments import MomentsRule


@final
class AdamaxRule(MomentsRule):
    """Adamax; u_t = m_t / max(β₂ n_{t-1}, |g_t| + ε), times 1 / (1 − β₁ᵗ)."""

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """`second` is the largest size n_t of a gradient, decaying by β₂."""
        old2, eps = (self._wide(x) for x in (self.beta2, self.eps))
        for x, first, second in zip(g, self.first, self.second, strict=True):
            first.lerp_(x, self._wide(1 - self.beta1))
            torch.maximum(second.mul_(old2), x.abs_().add_(eps), out=second)
            torch.div(first, second, out=x)
        return g, self._last_scale()

    def _last_scale(self) -> Tensor:
        return 1 / (1 - self.beta1**self.steps)


RULE = AdamaxRule
