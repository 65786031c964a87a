"""SGD for a pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from hdsens.training.fused.update_rules import UpdateRule


@final
class SgdRule(UpdateRule):
    """SGD, heavy-ball and Nesterov momentum, and their HD forms."""

    per_cell = frozenset({"momentum", "dampening", "nesterov"})

    def __init__(
        self,
        settings: Sequence[Mapping[str, Any]],
        clips: Sequence[float],
        parameters: Sequence[Tensor],
    ) -> None:
        super().__init__(settings, clips, parameters)
        self.momentum = self._column([s["momentum"] for s in settings])
        self.one_minus_dampening = self._column([1 - s["dampening"] for s in settings])
        plain = [s["momentum"] == 0 for s in settings]
        looks_ahead = [bool(s["nesterov"]) for s in settings]
        self.gradient_weight = self._column(
            [float(p or n) for p, n in zip(plain, looks_ahead, strict=True)]
        )
        self.buffer_weight = self._column(
            [
                s["momentum"] if n else float(not p)
                for s, p, n in zip(settings, plain, looks_ahead, strict=True)
            ]
        )
        self.has_momentum = not all(plain)
        self.damps = any(s["dampening"] != 0 for s in settings)
        self.mixes = not all(p or n for p, n in zip(plain, looks_ahead, strict=True))
        self.buffers: list[Tensor] | None = None

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], float]:
        """v_t = μ v_{t-1} + g_t; u_t = g_t + μ v_t (Nesterov), v_t (heavy ball) or g_t (none)."""
        if not self.has_momentum:
            return g, 1.0
        if self.buffers is None:
            self.buffers = [x.clone() for x in g]
        else:
            for buffer, x in zip(self.buffers, g, strict=True):
                new = x * self.one_minus_dampening if self.damps else x
                torch.addcmul(new, buffer, self.momentum, out=buffer)
        for x, buffer in zip(g, self.buffers, strict=True):
            if self.mixes:
                x.mul_(self.gradient_weight)
            x.addcmul_(buffer, self.buffer_weight)
        return g, 1.0

    def _last_scale(self) -> float:
        return 1.0

    def _states(self) -> tuple[str, ...]:
        return ("buffers",)

    def _vectors(self) -> tuple[str, ...]:
        return (
            *super()._vectors(),
            "momentum",
            "one_minus_dampening",
            "gradient_weight",
            "buffer_weight",
        )


RULE = SgdRule
