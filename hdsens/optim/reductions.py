"""The inner products that a hypergradient is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hdsens.optim.workspace import room

HALVES = (torch.float16, torch.bfloat16)


def descent_gradient(
    gradient: Tensor, param: Tensor, weight_decay: float, maximize: bool
) -> Tensor:
    """g_t: the gradient of what is minimised, L2 term included; `gradient` itself where equal."""
    g = gradient
    if maximize:
        g = torch.neg(g, out=room("descent", g, len(g)))
    if weight_decay != 0:
        g = torch.add(g, param, alpha=weight_decay, out=room("descent", g, len(g)))
    return g


def products(
    gradient: Tensor, direction: Tensor | None, squares: bool, scale: Tensor | float = 1.0
) -> Tensor:
    """g·u or, with `squares`, (g·u, g·g, u·u), where u is `scale` times `direction`.

    Takes vectors, and ``None`` for u = 0; returns a vector of 1 or 3 numbers. Halves are widened
    to float32 first.
    """
    g = widened(gradient)
    u = torch.zeros_like(g) if direction is None else widened(direction)
    parts = [_dot(g, u) * scale]
    if squares:
        parts += [_dot(g, g) * 1.0, _dot(u, u) * scale * scale]
    return torch.stack(parts)


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of several `products`, on the first one's device, in the widest dtype."""
    first = parts[0]
    if any(part.dtype != first.dtype or part.device != first.device for part in parts):
        parts = [part.to(first.device, torch.float64) for part in parts]
    return torch.stack(list(parts)).sum(0)


def cosine(sums: Tensor) -> Tensor:
    """The cosine between g and u from their (g·u, g·g, u·u); 0 where one of them is 0."""
    norms = sums[1].sqrt() * sums[2].sqrt()
    return torch.where(norms > 0, sums[0] / norms, torch.zeros_like(norms))


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """The dot product; a compiler can fuse the sum of a product with what made its factors."""
    return (x * y).sum() if torch.compiler.is_compiling() else torch.dot(x, y)


def widened(x: Tensor) -> Tensor:
    """`x`, in float32 where it is half precision."""
    return x.float() if x.dtype in HALVES else x
