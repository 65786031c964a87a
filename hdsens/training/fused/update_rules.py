"""What the update rules of a whole pack share: one lr and β a cell. `rules/` has a file for each.

Baydin et al. (ICLR 2018), Eq. 6: h_t = g_t · u_{t-1}, α_t = α_{t-1} + β h_t, then
θ_t = θ_{t-1} − α_t u_t. A base algorithm is β = 0. All numbers of a cell stay in its own row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from hdsens.study.optimizers import COMPUTING

_SPECK = {torch.float32: 1e-30, torch.float64: 1e-300}
_PER_CELL = {"params", "lr", "hypergrad_lr", "weight_decay"}
_FIXED: Mapping[str, Any] = {
    "maximize": False,
    "differentiable": False,
    "rule": "additive",
    "transition": None,
    "lr_bounds": None,
}
_NORM_EPS = 1e-6  # as torch.nn.utils.clip_grad_norm_


class UpdateRule(ABC):
    """Updates stacked parameters in place.

    Args:
        settings: one optimizer param group a cell.
        clips: largest gradient norm of each cell, 0 for none.
        parameters: to be updated, each `(n_cells, *shape)`.

    Class attributes, which a rule states where they are otherwise:
        per_cell: optimizer arguments that may have another value in each cell.
        fixed: arguments that it knows at one value only.
        normalises: whether it divides a gradient by its size, so that steps are full where a
            gradient is 0 but for rounding.
    """

    per_cell: ClassVar[frozenset[str]] = frozenset()
    fixed: ClassVar[Mapping[str, Any]] = {}
    normalises: ClassVar[bool] = False

    def __init__(
        self,
        settings: Sequence[Mapping[str, Any]],
        clips: Sequence[float],
        parameters: Sequence[Tensor],
    ) -> None:
        self.device = parameters[0].device
        self.dtype = parameters[0].dtype
        self.lr = self._exact([s["lr"] for s in settings])
        self.hypergrad_lr = self._exact([s.get("hypergrad_lr", 0.0) for s in settings])
        self.weight_decay = self._column([s["weight_decay"] for s in settings])
        self.clip = self._column(clips)
        self.parameters = _rows(parameters)
        self.directions: list[Tensor] | None = None
        self.steps = 0
        # So small that no sum of finite numbers times them overflows, and infinities remain.
        self._specks = [p.new_full((p.shape[1],), _SPECK[self.dtype]) for p in self.parameters]
        self.measures = any(s.get("hypergrad_lr", 0.0) != 0 for s in settings)
        self.decays = any(s["weight_decay"] != 0 for s in settings)
        self.clips = any(c > 0 for c in clips)

    @classmethod
    def knows(cls, argument: str, value: Any) -> bool:
        """Whether the rule computes what an optimizer does with this value of an argument."""
        fixed = {**_FIXED, **cls.fixed}
        if argument in fixed:
            return bool(value == fixed[argument])
        return argument in _PER_CELL | COMPUTING | cls.per_cell

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Adapt every cell's lr, then its parameters; the gradients are overwritten."""
        g = _rows(gradients)
        if self.clips:
            self._clip(g)
        if self.decays:
            for gradient, parameter in zip(g, self.parameters, strict=True):
                gradient.addcmul_(parameter, self.weight_decay)
        if self.measures and self.directions is not None:
            self._adapt(g, self.directions)
        self.steps += 1
        self.directions, scale = self._advance(g)
        step_size = (-self.lr * scale).to(self.dtype).unsqueeze(1)
        for parameter, direction in zip(self.parameters, self.directions, strict=True):
            parameter.addcmul_(direction, step_size)

    def checksums(self) -> Tensor:
        """Return a number for each cell, `(n_cells,)`, that is finite if all its parameters are."""
        sums = self._specks[0].new_zeros(len(self.lr))
        for parameter, specks in zip(self.parameters, self._specks, strict=True):
            sums = torch.addmv(sums, parameter, specks)
        return sums

    def keep(self, rows: Tensor, parameters: Sequence[Tensor]) -> None:
        """Drop all cells but those of these rows, whose parameters are given."""
        self.parameters = _rows(parameters)
        for name in self._vectors():
            setattr(self, name, getattr(self, name)[rows])
        for name in ("directions", *self._states()):
            kept = getattr(self, name)
            setattr(self, name, kept and [tensor[rows] for tensor in kept])

    def state(self) -> dict[str, Tensor]:
        """Return lr and state tensors by name, axis 0 = cell."""
        lists = {name: getattr(self, name) for name in self._kept()}
        found = {
            f"{name}/{i}": tensor
            for name, tensors in lists.items()
            for i, tensor in enumerate(tensors or ())
        }
        return {"lr": self.lr, **found}

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restore what `state` returned after so many steps."""
        self.lr, self.steps = state["lr"], steps
        for name in self._kept():
            if f"{name}/0" in state:
                found = [state[f"{name}/{i}"] for i in range(len(self.parameters))]
                setattr(self, name, found)

    def _kept(self) -> tuple[str, ...]:
        return ("directions", *self._states()) if self.measures else self._states()

    def _clip(self, g: Sequence[Tensor]) -> None:
        norms = torch.stack([torch.linalg.vector_norm(x, dim=1) for x in g])
        norm = torch.linalg.vector_norm(norms, dim=0).unsqueeze(1)
        share = (self.clip / (norm + _NORM_EPS)).clamp(max=1.0)
        share = torch.where(self.clip > 0, share, torch.ones_like(share))
        for x in g:
            x.mul_(share)

    def _adapt(self, g: Sequence[Tensor], u: Sequence[Tensor]) -> None:
        # In place: u_{t-1} is needed no more, and fresh pages would cost more than the product.
        products = [torch.mul(a, b, out=b).sum(1) for a, b in zip(g, u, strict=True)]
        slope = torch.stack(products).sum(0).double() * self._last_scale()
        change = self.hypergrad_lr * slope
        self.lr = self.lr + torch.where(self.hypergrad_lr == 0, 0.0, change)

    @abstractmethod
    def _advance(self, g: list[Tensor]) -> tuple[list[Tensor], Tensor | float]:
        """Return u_t but for a factor a cell, and that factor `(n_cells,)`; may write into `g`."""

    @abstractmethod
    def _last_scale(self) -> Tensor | float:
        """Return the factor by which the stored u_{t-1} must be multiplied."""

    @abstractmethod
    def _states(self) -> tuple[str, ...]:
        """Return the attributes that hold lists of state tensors."""

    def _vectors(self) -> tuple[str, ...]:
        return ("lr", "hypergrad_lr", "weight_decay", "clip")

    def _exact(self, values: Sequence[float]) -> Tensor:
        return torch.tensor([float(v) for v in values], dtype=torch.float64, device=self.device)

    def _column(self, values: Sequence[float]) -> Tensor:
        return self._exact(values).to(self.dtype).unsqueeze(1)


def _rows(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().reshape(len(tensor), -1) for tensor in tensors]
