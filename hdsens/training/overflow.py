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
    act, done again, meets numbers that are not finite, and with untrained weights meets none.

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
    return _meets_non_finite(again) and not _meets_non_finite(untrained)


def _meets_non_finite(act: Act) -> bool:
    with _Watch() as watch, suppress(*USER_ERRORS):
        act()
    return bool(watch.found)


class _Watch(TorchFunctionMode):
    """Looks at what torch's functions give, but for memory that nobody has written to."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False
        self._blank: dict[int, Tensor] = {}  # kept, so that no other takes their place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name.startswith(("empty", "new_empty")):
            self._blank |= {_place(tensor): tensor for tensor in _tensors(result)}
        else:
            writes = re.search("[^_]_$", name) or "out" in (kwargs or {})
            tensors = [t for t in _tensors(result) if writes or _place(t) not in self._blank]
            self.found = self.found or any(map(_is_non_finite, tensors))
        return result


def _place(tensor: Tensor) -> int:
    return 0 if tensor.is_sparse else tensor.untyped_storage().data_ptr()


def _tensors(values: Any) -> Iterable[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _is_non_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.is_sparse:
        return False
    return not bool(torch.isfinite(tensor.detach()).all())
