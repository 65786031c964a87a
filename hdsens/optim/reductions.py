"""The inner products that a hypergradient is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hdsens.optim.workspace import room

HALVES = (torch.float16, torch.bfloat16)

Sums = tuple[Tensor, ...]  # one number, or the three of the multiplicative rule


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


def products(gradient: Tensor, direction: Tensor | None, squares: bool) -> Sums:
    """g·u or, with `squares`, (g·u, g·g, u·u), for vectors; ``None`` for u = 0.

    Halves are widened to float32 first.
    """
    g = widened(gradient)
    u = torch.zeros_like(g) if direction is None else widened(direction)
    return (_dot(g, u), _dot(g, g), _dot(u, u)) if squares else (_dot(g, u),)


def scaled(sums: Sums, scale: float) -> Sums:
    """The `products` of g and `scale` u, from those of g and u."""
    dot, *squares = sums
    return (dot * scale, squares[0], squares[1] * scale * scale) if squares else (dot * scale,)


def total(parts: Sequence[Sums]) -> Sums:
    """The sums of several `products`, on the first one's device, in the widest dtype."""
    if not parts:  # old compilers fail at zip() of nothing
        return ()
    return tuple(_sum(column) for column in zip(*parts, strict=True))


def cosine(sums: Sums) -> Tensor:
    """The cosine between g and u from their (g·u, g·g, u·u); 0 where one of them is 0."""
    norms = sums[1].sqrt() * sums[2].sqrt()
    return torch.where(norms > 0, sums[0] / norms, torch.zeros_like(norms))


def _sum(terms: Sequence[Tensor]) -> Tensor:
    first = terms[0]
    if len(terms) == 1:
        return first
    if any(term.dtype != first.dtype or term.device != first.device for term in terms):
        terms = [term.to(first.device, torch.float64) for term in terms]
    column = torch.stack(list(terms))
    summed = column.sum()
    return column.double().sum() if _overflows(summed) else summed


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """The dot product, in float64 where it overflows float32 on a CPU.

    Elsewhere the host would have to wait for it. A compiler can fuse the sum of a product with
    what made its factors.
    """
    if torch.compiler.is_compiling():
        return (x * y).sum()
    dot = torch.dot(x, y)
    return torch.dot(x.double(), y.double()) if _overflows(dot) else dot


def _overflows(number: Tensor) -> bool:
    """Whether float64 may hold what float32 does not; False where the host would have to wait."""
    if torch.compiler.is_compiling() or number.device.type != "cpu":
        return False
    return number.dtype == torch.float32 and not math.isfinite(number)


def widened(x: Tensor) -> Tensor:
    """`x`, in float32 where it is half precision."""
    return x.float() if x.dtype in HALVES else x
