"""What the update rules of a whole pack share: one lr and β a cell. `rules/` has a file for each.

Baydin et al. (ICLR 2018), Eq. 6: h_t = g_t · u_{t-1}, α_t = α_{t-1} + β h_t, then
θ_t = θ_{t-1} − α_t u_t; Eq. 8, α_t = α_{t-1} (1 + β cos(g_t, u_{t-1})), is the multiplicative rule.
A base algorithm is β = 0. All numbers of a cell stay in its own row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from hdsens.study.optimizers import COMPUTING

_SPECK = {torch.float32: 1e-30, torch.float64: 1e-300}
_PER_CELL = {
    *("params", "lr", "hypergrad_lr", "weight_decay", "decoupled_weight_decay"),
    *("rule", "transition", "lr_bounds"),
}
_FIXED: Mapping[str, Any] = {"maximize": False, "differentiable": False}
LARGEST_LR = 1e12
"""Where a gradient is divided by its size, torch multiplies lr by the dividend first; beyond this
an lr times 1e26 is more than float32 holds, and the order of the two decides.
"""
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
        self.weight_decay = self._column(
            [0.0 if _decays_beside(s) else s["weight_decay"] for s in settings]
        )
        self.decay_beside = self._exact(
            [s["weight_decay"] if _decays_beside(s) else 0.0 for s in settings]
        )
        self.multiplicative = self._exact([s.get("rule") == "multiplicative" for s in settings])
        self.bounds = self._exact_rows([s.get("lr_bounds") or (-inf, inf) for s in settings])
        self.transition = self._exact_rows([s.get("transition") or (0.0, 0.0) for s in settings])
        self.clip = self._column(clips)
        self.parameters = _rows(parameters)
        self.directions: list[Tensor] | None = None
        self.steps = 0
        # So small that no sum of finite numbers times them overflows, and infinities remain.
        self._specks = [p.new_full((p.shape[1],), _SPECK[self.dtype]) for p in self.parameters]
        self.measures = any(s.get("hypergrad_lr", 0.0) != 0 for s in settings)
        self.decays = bool(self.weight_decay.any())
        self.decays_beside = bool(self.decay_beside.any())
        self.turns = bool(self.multiplicative.any())
        self.is_bounded = bool(self.bounds.isfinite().any())
        self.moves_over = any(s.get("transition") is not None for s in settings)
        self.clips = any(c > 0 for c in clips)

    @classmethod
    def knows(cls, argument: str, value: Any) -> bool:
        """Whether the rule computes what an optimizer does with this value of an argument."""
        fixed = {**_FIXED, **cls.fixed}
        if argument == "lr" and cls.normalises:
            return bool(value <= LARGEST_LR)
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
        if self.measures and (self.directions is not None or self.turns):
            self._adapt(g, self.directions)
        self.steps += 1
        self.directions, scale = self._advance(g)
        lr = self._step_lr()
        if self.decays_beside:
            kept = (1 - lr * self.decay_beside).to(self.dtype).unsqueeze(1)
            for parameter in self.parameters:
                parameter.mul_(kept)
        step_size = (-lr * scale).to(self.dtype).unsqueeze(1)
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
            n_found = sum(key.startswith(f"{name}/") for key in state)  # in any order
            if n_found:
                setattr(self, name, [state[f"{name}/{i}"] for i in range(n_found)])

    def _kept(self) -> tuple[str, ...]:
        return ("directions", *self._states()) if self.measures else self._states()

    def _clip(self, g: Sequence[Tensor]) -> None:
        norms = torch.stack([torch.linalg.vector_norm(x, dim=1) for x in g])
        norm = torch.linalg.vector_norm(norms, dim=0).unsqueeze(1)
        share = (self.clip / (norm + _NORM_EPS)).clamp(max=1.0)
        share = torch.where(self.clip > 0, share, torch.ones_like(share))
        for x in g:
            x.mul_(share)

    def _step_lr(self) -> Tensor:
        """Return what this step multiplies u_t by: lr, unless a transition is set."""
        if not self.moves_over:
            return self.lr
        final, power = self.transition.unbind(1)
        share = self.steps**-power
        return share * self.lr + (1 - share) * final

    def _adapt(self, g: Sequence[Tensor], u: Sequence[Tensor] | None) -> None:
        """Move lr by g_t · u_{t-1}; without directions, which are 0 then, keep it to its bounds."""
        adapted = self.lr
        if u is not None:
            squares = self._squares(g, u) if self.turns else None
            # In place: u_{t-1} is needed no more, and fresh pages would cost more than the product.
            products = [torch.mul(a, b, out=b).sum(1) for a, b in zip(g, u, strict=True)]
            dot = torch.stack(products).sum(0).double()
            adapted = self.lr + self.hypergrad_lr * (dot * self._last_scale())
            if squares is not None:
                cosine = torch.where(squares > 0, dot / squares, 0.0)
                turned = self.lr * (1 + self.hypergrad_lr * cosine)
                adapted = torch.where(self.multiplicative != 0, turned, adapted)
        if self.is_bounded:
            low, high = self.bounds.unbind(1)
            adapted = torch.clamp(adapted, low, high)
        moved = self.hypergrad_lr != 0
        if u is None:
            moved = moved & (self.multiplicative != 0)
        self.lr = torch.where(moved, adapted, self.lr)

    def _squares(self, g: Sequence[Tensor], u: Sequence[Tensor]) -> Tensor:
        """Return |g_t| |u_{t-1}| of each cell, u as it is stored."""
        norms = [
            torch.stack([x.square().sum(1) for x in tensors]).sum(0).double().sqrt()
            for tensors in (g, u)
        ]
        return norms[0] * norms[1]

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
        return (
            *("lr", "hypergrad_lr", "weight_decay", "decay_beside", "clip"),
            *("multiplicative", "bounds", "transition"),
        )

    def _exact(self, values: Sequence[float]) -> Tensor:
        return torch.tensor([float(v) for v in values], dtype=torch.float64, device=self.device)

    def _wide(self, values: Tensor) -> Tensor:
        """Return a number a cell as a column beside parameters, in their dtype."""
        return values.to(self.dtype).unsqueeze(1)

    def _like_parameters(self, needed: bool) -> list[Tensor]:
        """Return zeros beside each parameter where they are needed; else nothing."""
        return [torch.zeros_like(p) for p in self.parameters] if needed else []

    def _exact_rows(self, rows: Sequence[Sequence[float]]) -> Tensor:
        return torch.stack([self._exact(row) for row in rows])

    def _column(self, values: Sequence[float]) -> Tensor:
        return self._exact(values).to(self.dtype).unsqueeze(1)


def _decays_beside(settings: Mapping[str, Any]) -> bool:
    """Whether weight decay shrinks parameters instead of joining the gradient."""
    return bool(settings.get("decoupled_weight_decay", False))


def _rows(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().reshape(len(tensor), -1) for tensor in tensors]
