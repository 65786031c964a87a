"""NAdam for a pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from hdsens.training.fused.moments import MomentsRule


@final
class NAdamRule(MomentsRule):
    """NAdam, L2 or decoupled; u_t mixes g_t and m_t, both over √v̂_t + ε (Dozat, 2016)."""

    per_cell = MomentsRule.per_cell | {"momentum_decay"}

    def __init__(
        self,
        settings: Sequence[Mapping[str, Any]],
        clips: Sequence[float],
        parameters: Sequence[Tensor],
    ) -> None:
        super().__init__(settings, clips, parameters)
        self.momentum_decay = self._exact([s["momentum_decay"] for s in settings])
        self.products = [torch.ones_like(self.beta1)]

    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], float]:
        """With μ_t = β₁ (1 − 0.96^(tψ) / 2), whose product over steps `products` holds."""
        mu, next_mu = self._mu(self.steps), self._mu(self.steps + 1)
        (product,) = self.products
        product.mul_(mu)
        of_gradient = self._wide((1 - mu) / (1 - product))
        of_mean = self._wide(next_mu / (1 - product * next_mu))
        debias, eps = self._wide(1 - self.beta2**self.steps), self._wide(self.eps)
        self._take_in(g)
        for x, first, second in zip(g, self.first, self.second, strict=True):
            x.mul_(of_gradient).addcmul_(first, of_mean)
            x.div_((second / debias).sqrt_().add_(eps))
        return g, 1.0

    def _mu(self, step: int) -> Tensor:
        return self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))

    def _last_scale(self) -> float:
        return 1.0

    def _states(self) -> tuple[str, ...]:
        return (*super()._states(), "products")

    def _vectors(self) -> tuple[str, ...]:
        return (*super()._vectors(), "momentum_decay")


RULE = NAdamRule
