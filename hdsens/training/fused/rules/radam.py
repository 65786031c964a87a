"""RAdam for a pack."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from hdsens.training.fused.moments import MomentsRule


@final
class RAdamRule(MomentsRule):
    """RAdam, L2 or decoupled; u_t = m̂_t, over √v̂_t + ε and rectified once that is known well.

    Liu et al. (ICLR 2020): ρ_t, the length of the average behind v_t, must exceed 5.
    """

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        self._take_in(g)
        debias = 1 - self.beta2**self.steps
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * self.steps * self.beta2**self.steps / debias
        is_known = length > 5
        rectified = (length - 4) * (length - 2) * longest
        rectified = rectified / ((longest - 4) * (longest - 2) * length)
        known = self._wide((rectified.clamp(min=0) * debias).sqrt())
        eps, chosen = self._wide(self.eps), is_known.unsqueeze(1)
        for x, first, second in zip(g, self.first, self.second, strict=True):
            factor = torch.where(chosen, known / second.sqrt().add_(eps), 1.0)
            torch.mul(first, factor, out=x)
        return g, self._last_scale()

    def _last_scale(self) -> Tensor:
        return 1 / (1 - self.beta1**self.steps)


RULE = RAdamRule
