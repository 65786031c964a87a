"""Adam for a pack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from hdsens.training.fused.moments import MomentsRule


@final
class AdamRule(MomentsRule):
    """Adam, AdamW and Adam-HD; u_t = m̂_t / (√v̂_t + ε)."""

    fixed: ClassVar[Mapping[str, Any]] = {"amsgrad": False}

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """With r = √(1 − β₂ᵗ), u_t is m_t / (√v_t + ε r) but for the factor r / (1 − β₁ᵗ)."""
        new1, old2, new2 = map(self._wide, (1 - self.beta1, self.beta2, 1 - self.beta2))
        floor = self._wide(self.eps * self._root())
        for x, first, second in zip(g, self.first, self.second, strict=True):
            first.lerp_(x, new1)
            # As `_take_in`, in one pass over memory: the gradient's own array is free.
            second.mul_(old2).addcmul_(x.square_(), new2)
            torch.sqrt(second, out=x).add_(floor)
            torch.div(first, x, out=x)
        return g, self._last_scale()

    def _root(self) -> Tensor:
        return (1 - self.beta2**self.steps).sqrt()

    def _last_scale(self) -> Tensor:
        return self._root() / (1 - self.beta1**self.steps)


RULE = AdamRule
