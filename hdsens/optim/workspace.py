"""Memory that a step writes to and forgets.

On a CPU a fresh allocation of this size is paged in by the kernel at its first touch, which costs
more than the arithmetic done in it. So each thread keeps a little and uses it again.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

# Elements worked on at a time on a CPU: what a step keeps for temporaries stays small, and the
# interpreter, whose code every piece drives out of the nearest cache, is called for few of them.
CPU_PIECE = 2**20


class _Kept(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[tuple[str, torch.dtype], Tensor] = {}


_kept = _Kept()


def room(name: str, like: Tensor, length: int) -> Tensor | None:
    """A vector to pass as ``out=``, overwritten by the next use of `name`.

    ``None``, which makes torch allocate, where an allocator or a compiler does better: off the
    CPU, while compiling, and for vectors longer than a piece.
    """
    if torch.compiler.is_compiling() or like.device.type != "cpu" or length > CPU_PIECE:
        return None
    key = name, like.dtype
    if key not in _kept.buffers:
        with torch.inference_mode(False):  # a step outside of it may come next
            _kept.buffers[key] = torch.empty(CPU_PIECE, dtype=like.dtype, device="cpu")
    return _kept.buffers[key][:length]
