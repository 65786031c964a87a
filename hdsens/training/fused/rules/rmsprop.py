"""RMSprop for a pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from hdsens.training.fused.update_rules import UpdateRule


@final
class RMSpropRule(UpdateRule):
    """RMSprop, also centered and with momentum; u_t = g_t / (√(v_t − m_t²) + ε)."""

    per_cell = frozenset({"alpha", "eps", "momentum", "centered"})
    normalises = True

    def __init__(
        self,
        settings: Sequence[Mapping[str, Any]],
        clips: Sequence[float],
        parameters: Sequence[Tensor],
    ) -> None:
        super().__init__(settings, clips, parameters)
        self.alpha = self._column([s["alpha"] for s in settings])
        self.new = self._column([1 - s["alpha"] for s in settings])
        self.eps = self._column([s["eps"] for s in settings])
        self.momentum = self._column([s["momentum"] for s in settings])
        self.minus_centered = self._column([-float(s["centered"]) for s in settings])
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.means = self._like_parameters(any(s["centered"] for s in settings))
        self.buffers = self._like_parameters(any(s["momentum"] != 0 for s in settings))

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], float]:
        """v_t = α v_{t-1} + (1 − α) g_t², m_t likewise of g_t; momentum sums up the u_t."""
        for i, (x, square) in enumerate(zip(g, self.squares, strict=True)):
            square.mul_(self.alpha).addcmul_(x.square(), self.new)
            root = square
            if self.means:
                mean = self.means[i].lerp_(x, self.new)
                root = torch.addcmul(square, mean.square(), self.minus_centered)
            x.div_(root.sqrt().add_(self.eps))
            if self.buffers:
                x.copy_(self.buffers[i].mul_(self.momentum).add_(x))
        return g, 1.0

    def _last_scale(self) -> float:
        return 1.0

    def _states(self) -> tuple[str, ...]:
        return ("squares", "means", "buffers")

    def _vectors(self) -> tuple[str, ...]:
        return (*super()._vectors(), "alpha", "new", "eps", "momentum", "minus_centered")


RULE = RMSpropRule
