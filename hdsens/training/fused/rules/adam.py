"""Adam for a pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from hdsens.training.fused.update_rules import UpdateRule

LARGEST_LR = 1e12
"""With a larger one a first moment of 1e26 gives a product that float32 cannot hold."""


@final
class AdamRule(UpdateRule):
    """Adam and Adam-HD; u_t = m̂_t / (√v̂_t + ε)."""

    per_cell = frozenset({"betas", "eps"})
    fixed: ClassVar[Mapping[str, Any]] = {"amsgrad": False, "decoupled_weight_decay": False}
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

    @classmethod
    def knows(cls, argument: str, value: Any) -> bool:
        """As for any rule, and no lr so large that the order of two operations decides.

        torch multiplies lr by the first moment before it divides, which may overflow.
        """
        return super().knows(argument, value) and (argument != "lr" or value <= LARGEST_LR)

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """With r = √(1 − β₂ᵗ), u_t is m_t / (√v_t + ε r) but for the factor r / (1 − β₁ᵗ)."""
        new1 = (1 - self.beta1).to(self.dtype).unsqueeze(1)
        old2, new2 = (b.to(self.dtype).unsqueeze(1) for b in (self.beta2, 1 - self.beta2))
        floor = (self.eps * self._root()).to(self.dtype).unsqueeze(1)
        for x, first, second in zip(g, self.first, self.second, strict=True):
            first.lerp_(x, new1)
            # No lerp here: from a square that overflowed it would go to inf - inf.
            second.mul_(old2).addcmul_(x.square_(), new2)
            torch.sqrt(second, out=x).add_(floor)
            torch.div(first, x, out=x)
        return g, self._last_scale()

    def _root(self) -> Tensor:
        return (1 - self.beta2**self.steps).sqrt()

    def _last_scale(self) -> Tensor:
        return self._root() / (1 - self.beta1**self.steps)

    def _states(self) -> tuple[str, ...]:
        return ("first", "second")

    def _vectors(self) -> tuple[str, ...]:
        return (*super()._vectors(), "beta1", "beta2", "eps")


RULE = AdamRule
