"""What update rules with two moments share, Adam's relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hdsens.training.fused.update_rules import UpdateRule


class MomentsRule(UpdateRule):
    """Keeps averages of the gradient and of its square, with β₁, β₂ and ε of each cell."""

    per_cell = frozenset({"betas", "eps"})
    normalises = True

    def __init__(
        self,
        settings: Sequence[Mapping[str, Any]],
        clips: Sequence[float],
        parameters: Sequence[Tensor],
    ) -> None:
        super().__init__(settings, clips, parameters)
        self.beta1 = self._exact([s["betas"][0] for s in settings])
        self.beta2 = self._exact([s["betas"][1] for s in settings])
        self.eps = self._exact([s["eps"] for s in settings])
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]

    def _take_in(self, g: Sequence[Tensor]) -> None:
        """Move both averages on by this step's gradient."""
        new1, old2, new2 = map(self._wide, (1 - self.beta1, self.beta2, 1 - self.beta2))
        for x, first, second in zip(g, self.first, self.second, strict=True):
            first.lerp_(x, new1)
            # No lerp here: from a square that overflowed it would go to inf - inf.
            second.mul_(old2).addcmul_(x.square(), new2)

    def _states(self) -> tuple[str, ...]:
        return ("first", "second")

    def _vectors(self) -> tuple[str, ...]:
        return (*super()._vectors(), "beta1", "beta2", "eps")
