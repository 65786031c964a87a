"""Faults planted in the toolkit, each of which `benchmarks.strangers` must find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from benchmarks.strangers import Draw, judge
from hdsens.tasks import data as task_data
from hdsens.training import examples, job, plain
from hdsens.training.choosing import first_step, own_code, probe
from hdsens.training.fused import run, stack

Change = tuple[Any, str, Any]


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _mean_over_cells(outputs: Any, targets: Any, loss: Any) -> Any:
    losses, slopes = _LOSSES(outputs, targets, loss)
    return losses, slopes / len(outputs)


def _real(model: nn.Module, dtype: Any) -> nn.Module:
    return model.to(dtype)


def _same_order(seed: int, epoch: int, n: int) -> Any:
    return _ORDER(seed, 0, n)


def _only_parameters(self: Any) -> dict[str, Any]:
    return dict(self.model.named_parameters())


_LOSSES, _ORDER = stack.losses_and_slopes, examples.epoch_order

FAULTS: Mapping[str, Sequence[Change]] = {
    "a pack's loss is a mean over its cells": [
        (stack, "losses_and_slopes", _mean_over_cells),
        (probe.Probe, "_compare", _nothing),
    ],
    "what a model keeps besides tensors is not put back": [
        (plain, "put_back", _nothing),
        (run, "put_back", _nothing),
    ],
    "an optimizer's eval() and train() are not called": [(plain, "set_mode", _nothing)],
    "complex numbers are cast to real ones": [(job, "_cast", _real)],
    "an optimizer's state is not loaded": [(plain, "load_optimizer", _nothing)],
    "buffers are not in a checkpoint": [(plain.PlainRun, "_weights", _only_parameters)],
    "each epoch has the order of the first": [(examples, "epoch_order", _same_order)],
    "factories are not tried": [
        (own_code, "_try_factory", _nothing),
        (own_code, "_try_steps", _nothing),
    ],
    "parameters that nothing trains are let through": [
        (first_step, "untrained_parameters", lambda *_: []),
        (plain.PlainRun, "_check_parameters", _nothing),
    ],
    "data that are not finite are let through": [(task_data, "_check_finite", _nothing)],
    "errors on infinite numbers are failures": [(plain, "has_overflowed", lambda *_, **__: False)],
    "augmentations are not tried": [(own_code, "_try_augmentation", _nothing)],
}


def find_faults(numbers: Sequence[int]) -> str:
    """A line for each fault: the first of these draws that shows it."""
    return "\n".join(f"| {name} | {find(name, numbers)} |" for name in FAULTS)


def find(name: str, numbers: Sequence[int]) -> str:
    """Where a planted fault is found: draw and reason; "not found" otherwise."""
    with _planted(FAULTS[name]):
        for number in numbers:
            judged = judge(Draw.of(number))
            if judged.kind == "different":
                return f"draw {number}: {judged.reason}"
    return "not found"


@contextmanager
def _planted(changes: Sequence[Change]) -> Iterator[None]:
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in changes]
    try:
        for owner, name, other in changes:
            setattr(owner, name, other)
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)
