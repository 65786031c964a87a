"""Per-tensor optimizer state that lies back to back in memory.

One pass over a long vector costs what memory traffic costs; one pass each over many short
tensors costs mostly the calls. So the state of a group's parameters is allocated in one piece,
of which every state tensor is a view, and a step works through runs of neighbours. Nothing
relies on it for correctness: state that lies elsewhere makes shorter runs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hdsens.optim.workspace import CPU_PIECE

# Elements of a run of several parameters on a CPU: their gradients are copied into one vector, and
# that copy should still be in the cache when it is used.
CPU_RUN = 2**18


@dataclass(frozen=True)
class Member:
    """A parameter that a step updates, with what decides which others it can run with."""

    param: Tensor
    state: dict[str, Any]
    kind: Any = None


@dataclass(frozen=True)
class Run:
    """Parameters of one kind, dtype and device whose state `names` lies back to back.

    `slots` and `vectors` have one entry a name: the state tensor by tensor, and as one vector.
    """

    kind: Any
    names: tuple[str, ...]
    params: list[Tensor]
    states: list[dict[str, Any]]
    slots: tuple[list[Tensor], ...]
    vectors: tuple[Tensor, ...]

    def is_current(self, held: Mapping[Tensor, Any]) -> bool:
        """Whether `held`, an optimizer's state, still is the tensors that this run knows."""
        return all(
            held.get(param) is state for param, state in zip(self.params, self.states, strict=True)
        ) and all(
            state.get(name) is slot
            for name, slots in zip(self.names, self.slots, strict=True)
            for state, slot in zip(self.states, slots, strict=True)
        )

    def joined(self, tensors: Sequence[Tensor], what: Scratch) -> Tensor:
        """One tensor a parameter, as one vector in the order of the state: only to be read."""
        if len(tensors) == 1:
            return _in_order_of(self.slots[0][0], tensors[0])
        whole, parts = what.laid_out_as(self)
        torch._foreach_copy_(parts, list(tensors))
        return whole


class Scratch:
    """Memory for joined vectors, one at a time.

    On a CPU, where a run of several parameters is at most `CPU_RUN` elements, it is kept from
    step to step; elsewhere it is as large as the gradient, and lives for one step.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._layouts: dict[int, tuple[Run, Tensor, list[Tensor]]] = {}
        self._whole: dict[torch.dtype, Tensor] = {}

    def laid_out_as(self, run: Run) -> tuple[Tensor, list[Tensor]]:
        """A vector as long as the run, and views of it shaped as the run's tensors."""
        if run.vectors[0].device.type != "cpu":
            whole = torch.empty_like(run.vectors[0])
            return whole, _views(whole, run.slots[0])
        if id(run) not in self._layouts:
            whole = self._kept(run.vectors[0])
            self._layouts[id(run)] = run, whole, _views(whole, run.slots[0])
        return self._layouts[id(run)][1:]

    def _kept(self, like: Tensor) -> Tensor:
        whole = self._whole.get(like.dtype)
        if whole is None or len(whole) < len(like):
            whole = self._whole[like.dtype] = torch.empty_like(like)
        return whole[: len(like)]


def allocate(members: Sequence[Member], names: Sequence[str]) -> None:
    """Give members zeros of their parameter's shape and layout under those `names` they lack."""
    for name in names:
        for bucket in _by_kind([member for member in members if name not in member.state]):
            _place(bucket, name, [_dense(member.param) for member in bucket])


def repack(members: Iterable[Member]) -> None:
    """Move state tensors that have their parameter's shape next to each other."""
    for name, having in _by_name(members).items():
        for bucket in _by_kind(having):
            old = [member.state[name] for member in bucket]
            _place(bucket, name, [_dense(tensor) for tensor in old])
            torch._foreach_copy_([member.state[name] for member in bucket], old)


def runs(members: Iterable[Member], names: tuple[str, ...], singly: bool = False) -> Iterator[Run]:
    """Split members into runs of good length whose states `names` lie back to back.

    With `singly`, every run is one member.
    """
    for bucket in _by_kind(members):
        limit = CPU_RUN if bucket[0].param.device.type == "cpu" else math.inf
        limit = 0 if singly else limit
        run: list[Member] = []
        length, ends = 0, [-1]
        for member in bucket:
            slots = [member.state[name] for name in names]
            starts = [slot.data_ptr() for slot in slots]
            if run and (starts != ends or length + member.param.numel() > limit):
                yield from _checked(run, names)
                run, length = [], 0
            run.append(member)
            length += member.param.numel()
            ends = [start + _bytes(slot) for start, slot in zip(starts, slots, strict=True)]
        yield from _checked(run, names)


def pieces(*vectors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Vectors of one length, cut into pieces of good length; a compiler gets them whole."""
    if torch.compiler.is_compiling() or vectors[0].device.type != "cpu":
        return [vectors]
    if len(vectors[0]) <= CPU_PIECE:
        return [vectors]
    return zip(*(torch.split(vector, CPU_PIECE) for vector in vectors), strict=True)


def _checked(members: list[Member], names: tuple[str, ...]) -> Iterator[Run]:
    """One run, or one a member where neighbours belong to different allocations."""
    first, last = members[0].state, members[-1].state
    if all(_holds(first[name], last[name]) for name in names):
        yield _run(members, names)
    else:
        yield from (_run([member], names) for member in members)


def _run(members: list[Member], names: tuple[str, ...]) -> Run:
    length = sum(member.param.numel() for member in members)
    slots = tuple([member.state[name] for member in members] for name in names)
    return Run(
        kind=members[0].kind,
        names=names,
        params=[member.param for member in members],
        states=[member.state for member in members],
        slots=slots,
        vectors=tuple(of_name[0].as_strided((length,), (1,)) for of_name in slots),
    )


def _holds(first: Tensor, last: Tensor) -> bool:
    storage = first.untyped_storage()
    return last.data_ptr() + _bytes(last) <= storage.data_ptr() + storage.nbytes()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _by_kind(members: Iterable[Member]) -> Iterable[list[Member]]:
    buckets: dict[Any, list[Member]] = defaultdict(list)
    for member in members:
        buckets[member.param.device, member.param.dtype, member.kind].append(member)
    return buckets.values()


def _by_name(members: Iterable[Member]) -> dict[str, list[Member]]:
    having: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        for name, value in member.state.items():
            if name != "step" and isinstance(value, Tensor) and value.shape == member.param.shape:
                having[name].append(member)
    return having


def _place(bucket: list[Member], name: str, layouts: list[Tensor]) -> None:
    first = bucket[0].param
    length = sum(member.param.numel() for member in bucket)
    whole = torch.zeros(length, dtype=first.dtype, device=first.device)
    for member, view in zip(bucket, _views(whole, layouts), strict=True):
        member.state[name] = view


def _views(whole: Tensor, layouts: Sequence[Tensor]) -> list[Tensor]:
    """Views of a vector, one after another, with the sizes and strides of dense tensors."""
    views, offset = [], 0
    for layout in layouts:
        views.append(whole.as_strided(layout.size(), layout.stride(), offset))
        offset += layout.numel()
    return views


def _dense(tensor: Tensor) -> Tensor:
    """A tensor without content, laid out like this one but for the gaps."""
    return torch.empty_like(tensor, device="meta")


def _in_order_of(slot: Tensor, tensor: Tensor) -> Tensor:
    if tensor.stride() != slot.stride() or tensor.dtype != slot.dtype:
        tensor = torch.empty_like(slot).copy_(tensor)
    return tensor.as_strided((tensor.numel(),), (1,))
