"""Param groups: one adapted learning rate each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def group_per_tensor(params: Iterable[Tensor]) -> list[dict[str, Any]]:
    """One param group a tensor, so that every tensor adapts a learning rate of its own.

    This is how LBANN applies hypergradient descent; the paper shares one over all parameters.
    """
    return [{"params": [param]} for param in params]
