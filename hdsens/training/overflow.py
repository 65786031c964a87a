"""Tell divergence from other errors: some functions raise on numbers that are not finite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from hdsens.errors import USER_ERRORS
from hdsens.training.choosing.memory import out_of_memory

Act = Callable[[], object]


def has_overflowed(error: BaseException, again: Act, untrained: Act, *, is_first: bool) -> bool:
    """Whether an error comes of divergence, such as a decomposition of NaN.

    An OverflowError of Python does, except in a cell's first step. Any other error does where the
    act, done again, meets a kind of number (NaN, inf, -inf) that it does not meet with untrained
    weights. So a mask of -inf is no sign of divergence, and does not hide one.

    Args:
        error: what the act raised.
        again: does it again.
        untrained: does the same with untrained weights.
        is_first: whether the cell has made no step yet.
    """
    if out_of_memory(error):
        return False
    if isinstance(error, OverflowError | FloatingPointError):
        return not is_first
    return bool(_non_finite_in(again) - _non_finite_in(untrained))


def _non_finite_in(act: Act) -> set[str]:
    """The kinds of non-finite numbers that an act comes upon."""
    watch = _Watch()
    with watch, suppress(*USER_ERRORS):
        act()
    return watch.found


class _Watch(TorchFunctionMode):
    """Looks at what torch's functions give, but for memory that nobody has written to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._blank: dict[int, Tensor] = {}  # kept, so that no other takes their place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name.startswith(("empty", "new_empty")):
            self._blank |= {_place(tensor): tensor for tensor in _tensors(result)}
        else:
            writes = re.search("[^_]_$", name) or "out" in (kwargs or {})
            tensors = [t for t in _tensors(result) if writes or _place(t) not in self._blank]
            with suppress(RuntimeError, NotImplementedError):  # vmap's have no numbers to look at
                self.found.update(*map(_non_finite_kinds, tensors))
        return result


def _place(tensor: Tensor) -> int:
    """Where its numbers lie; 0 for what has no one place, such as sparse tensors and vmap's."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


def _tensors(values: Any) -> Iterable[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _non_finite_kinds(tensor: Tensor) -> set[str]:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.is_sparse:
        return set()
    tensor = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    if torch.isfinite(tensor).all():
        return set()
    kinds = {"nan": tensor.isnan(), "+inf": tensor.isposinf(), "-inf": tensor.isneginf()}
    return {name for name, at in kinds.items() if at.any()}
