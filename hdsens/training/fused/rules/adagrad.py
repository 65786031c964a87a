"""Adagrad for a pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor

from hdsens.training.fused.update_rules import UpdateRule


@final
class AdagradRule(UpdateRule):
    """Adagrad; u_t = g_t / (√Σg² + ε), times 1 / (1 + (t − 1) lr_decay)."""

    per_cell = frozenset({"lr_decay", "eps", "initial_accumulator_value"})
    normalises = True

    def __init__(
        self,
        settings: Sequence[Mapping[str, Any]],
        clips: Sequence[float],
        parameters: Sequence[Tensor],
    ) -> None:
        super().__init__(settings, clips, parameters)
        self.lr_decay = self._exact([s["lr_decay"] for s in settings])
        self.eps = self._column([s["eps"] for s in settings])
        first = self._column([s["initial_accumulator_value"] for s in settings])
        self.sums = [first.expand_as(p).clone() for p in self.parameters]

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        for x, squares in zip(g, self.sums, strict=True):
            squares.addcmul_(x, x)
            x.div_(squares.sqrt().add_(self.eps))
        return g, self._last_scale()

    def _last_scale(self) -> Tensor:
        return 1 / (1 + (self.steps - 1) * self.lr_decay)

    def _states(self) -> tuple[str, ...]:
        return ("sums",)

    def _vectors(self) -> tuple[str, ...]:
        return (*super()._vectors(), "lr_decay", "eps")


RULE = AdagradRule
