"""Whether a person's own code gives each cell a beginning of its own, and equal cells equal steps.

Tried before anything is written. Otherwise a cell's numbers would depend on which cells a worker
trained before it, without a word.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hdsens.errors import USER_ERRORS, InputError, describe
from hdsens.study.cells import Cell
from hdsens.tasks.importing import is_import_path
from hdsens.training.examples import Batches, Split
from hdsens.training.job import EVALUATION_BATCH, Job, evaluate
from hdsens.training.plain import PlainRun
from hdsens.training.resuming.held_state import State, held_state
from hdsens.training.resuming.plain_values import NotPlainError, encode

_STEPS = 3
_LARGE = 1_000_000  # bytes
_SAME = {"float32": 1e-4, "float64": 1e-8}
"""Two equal cells may differ by rounding, as some kernels add up in any order."""

_log = logging.getLogger(__name__)


def try_own_code(job: Job, cells: Sequence[Cell]) -> None:
    """Try model, data, loss and optimizers of a person's own; nothing happens where all are known.

    Raises:
        InputError: two calls of the model's factory do not give equal and separate models; a
            minibatch or an evaluation of a size that will come fails; an arm's first steps fail, or
            differ for two equal cells.
    """
    if not job.has_own_code:
        return
    task = job.study.task
    try:
        _try_augmentation(job, cells[0])
        if is_import_path(task.model):
            _try_factory(job, cells)
            _try_sizes(job, cells)
    except InputError as error:
        raise error.within(f"study {job.study.name!r}: task") from None
    for arm in {cell.arm: None for cell in cells}:
        of_arm = [cell for cell in cells if cell.arm == arm]
        # At lr = 0 no step would show in the weights.
        _try_steps(job, next((cell for cell in of_arm if cell.factors.get("lr")), of_arm[0]))


def untrained_parameters(model: nn.Module, loss: Tensor, known: Collection[int]) -> list[str]:
    """Names of what a loss depends on and that is none of the known parameters (by their id).

    One that no module of the model has registered is named by its shape.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    held = {id(t): n for m in model.modules() for n, t in vars(m).items() if isinstance(t, Tensor)}
    strays = {
        id(leaf): names.get(id(leaf), held.get(id(leaf), f"one of shape {tuple(leaf.shape)}"))
        for leaf in _leaves(loss)
        if id(leaf) not in known and (isinstance(leaf, nn.Parameter) or id(leaf) in held)
    }
    return sorted(strays.values())


def _leaves(loss: Tensor) -> Iterator[Tensor]:
    """Tensors that get a gradient from a loss."""
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "AccumulateGrad":
            yield node.variable  # type: ignore[attr-defined] # of this kind of node alone
        waiting += [following for following, _ in node.next_functions]


def _try_augmentation(job: Job, cell: Cell) -> None:
    """Two calls for one step must give the same minibatch, since each path has its own calls."""
    if job.examples.augment is None:
        return
    batches = Batches(job.examples, cell.seed, cell.batch_size)
    first, second = batches.at(1), batches.at(1)
    if not torch.equal(first.inputs, second.inputs):
        raise InputError(
            f"data set {job.study.task.data!r}",
            "must augment by the generator that it is given, but two calls for one step differ",
            remedy="draw from that generator, and keep no count of calls",
        )


def _try_factory(job: Job, cells: Sequence[Cell]) -> None:
    thing, seed = f"model {job.study.task.model!r}", cells[0].seed
    first, second = job.fresh_model(seed), job.fresh_model(seed)
    other = job.fresh_model(next((c.seed for c in cells if c.seed != seed), seed + 1))
    new = {name: t.detach().clone() for name, t in _tensors(first).items()}
    held = held_state(first)
    for one, two in itertools.combinations((first, second, other), 2):
        _check_separate(thing, one, two)
    _check_equal(thing, new, second)
    if all(_equal(a, b) for a, b in zip(new.values(), _tensors(other).values(), strict=False)):
        _log.warning("%s starts alike for all seeds, which differ in their batches only", thing)
    alike = {path for path, value in held_state(second).items() if held.get(path) == value}
    _use(job, first, cells[0])
    _check_left_behind(thing, job.fresh_model(seed), new, {path: held[path] for path in alike})


def _check_separate(thing: str, one: nn.Module, two: nn.Module) -> None:
    places = {t.untyped_storage().data_ptr(): n for n, t in _tensors(one).items() if t.numel()}
    for name, tensor in _tensors(two).items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in places:
            raise InputError(
                thing,
                f"must be new at each call of its factory, but two calls share {name!r}",
                remedy="give each a copy of what the module keeps, e.g. copy.deepcopy(backbone)",
            )


def _check_equal(thing: str, new: Mapping[str, Tensor], second: nn.Module) -> None:
    different = _differences(new, second)
    if different:
        raise InputError(
            thing,
            "must be a function of the seed, but two calls of its factory with one seed differ in "
            f"{different[0]!r}",
            remedy="draw from torch's, NumPy's or Python's global generator, which are seeded, and "
            "leave nothing uninitialised",
        )


def _check_left_behind(
    thing: str, later: nn.Module, new: Mapping[str, Tensor], held: State
) -> None:
    now = held_state(later)
    changed = _differences(new, later) + [p for p, value in held.items() if now.get(p) != value]
    if changed:
        raise InputError(
            thing,
            f"must be new at each call of its factory, but training a model changed {changed[0]!r} "
            "of the next",
            remedy="give each a copy of what the module keeps, e.g. copy.deepcopy(backbone)",
        )


def _differences(new: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    now = _tensors(model)
    if now.keys() != new.keys():
        return sorted(now.keys() ^ new.keys())
    return [name for name, tensor in new.items() if not _equal(tensor, now[name])]


def _equal(one: Tensor, two: Tensor) -> bool:
    if (one.shape, one.dtype) != (two.shape, two.dtype):
        return False
    return bool(((one == two) | (one != one) & (two != two)).all())


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _use(job: Job, model: nn.Module, cell: Cell) -> None:
    """A forward and backward pass, and other values in everything that an update may change."""
    job.seed_step(cell.seed, 1)
    batch = Batches(job.examples, cell.seed, cell.batch_size).at(1)
    job.loss.mean(model.train()(batch.inputs), batch.targets).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)


def _try_sizes(job: Job, cells: Sequence[Cell]) -> None:
    """Minibatches and evaluations of every size that will come: the last one is often short."""
    thing, n = f"model {job.study.task.model!r}", job.examples.n_train
    for size, batch_size in sorted(_sizes(cells, n).items()):
        inputs = job.examples.train.inputs[:size].clone()
        batch = Split(inputs, job.examples.train.targets[:size])
        try:
            outputs = job.fresh_model(cells[0].seed).train()(batch.inputs)
            job.loss.mean(outputs, batch.targets).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        except USER_ERRORS as error:  # whatever a person's own model raises
            raise InputError(
                thing,
                f"must train on a minibatch of {size}, the last of an epoch of {n} examples with "
                f"batch_size = {batch_size}: {describe(error)}",
                remedy="choose a batch_size that leaves no such rest, or mend the model",
            ) from error
    for name, split in (("training", job.examples.train), ("validation", job.examples.valid)):
        rest = len(split.targets) % EVALUATION_BATCH
        try:
            if rest:
                few = Split(split.inputs[:rest], split.targets[:rest])
                evaluate(job.fresh_model(cells[0].seed), few, job.loss)
        except USER_ERRORS as error:  # likewise
            raise InputError(
                thing,
                f"must be evaluated on {rest} examples, the last of {len(split.targets)} {name} "
                f"examples: {describe(error)}",
                remedy="mend the model",
            ) from error


def _sizes(cells: Sequence[Cell], n: int) -> dict[int, int]:
    """Sizes of minibatches that will come, but for that of the first step, by batch size."""
    found = {}
    for batch_size in {cell.batch_size for cell in cells}:
        steps = max(cell.steps for cell in cells if cell.batch_size == batch_size)
        found[min(batch_size, n)] = batch_size
        if n % batch_size and steps >= -(-n // batch_size):
            found[n % batch_size] = batch_size
    found.pop(min(cells[0].batch_size, n), None)
    return found


def _try_steps(job: Job, cell: Cell) -> None:
    """An arm's first steps, twice."""
    arm = job.study.arm(cell.arm)
    thing = f"study {job.study.name!r}: arm {arm.name!r}: optimizer {arm.optimizer}"
    names = _own_modules(job)
    before = {name: _globals(name) for name in names}
    try:
        one, two = (_weights_after(job, cell) for _ in range(2))
    except USER_ERRORS as error:  # whatever a person's own code raises
        raise InputError(
            thing,
            f"must take a first step on the model: {describe(error)}",
            remedy="choose another optimizer, or a model that it takes",
        ) from error
    changed = [
        f"{name}.{key}"
        for name in names
        for key, value in _globals(name).items()
        if before[name].get(key, value) != value
    ]
    bound = _SAME[job.study.task.dtype]
    apart = [name for name in one if not _close(one[name], two[name], bound)]
    if changed or apart:
        where = changed[0] if changed else apart[0]
        raise InputError(
            f"study {job.study.name!r}: arm {arm.name!r}: model and optimizer",
            f"must train each cell as if it were the only one, but one cell's steps change {where} "
            "for the next",
            remedy="keep counts, caches and generators in the model or the optimizer, not in its "
            "module or class",
        )


def _weights_after(job: Job, cell: Cell) -> dict[str, Tensor]:
    """Parameters and buffers after a few steps; what a later one raises is the cell's affair."""
    run = PlainRun(job, cell, job.fresh_model(cell.seed))
    going = run.update(1) is not None
    with suppress(*USER_ERRORS):
        for step in range(2, 1 + min(_STEPS, cell.steps)):
            going = going and run.update(step) is not None
    return _tensors(run.model)


def _close(one: Tensor, two: Tensor, bound: float) -> bool:
    if one.shape != two.shape:
        return False
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, two)
    if not (one.isfinite().all() and two.isfinite().all()):  # diverged, which tells nothing
        return True
    return not one.numel() or bool((one - two).abs().max() <= bound * (1 + one.abs().max()))


def _own_modules(job: Job) -> list[str]:
    """Python modules that a person's own model, data, loss and optimizers are written in."""
    return sorted({name.partition(":")[0] for name in job.code_names if is_import_path(name)})


def _globals(module: str) -> dict[str, Any]:
    """Plain data among a module's variables, and among its classes' attributes."""
    names = vars(sys.modules[module])
    classes = [x for x in names.values() if isinstance(x, type) and x.__module__ == module]
    found = {}
    for owner in (names, *({f"{c.__name__}.{k}": v for k, v in vars(c).items()} for c in classes)):
        for key, value in owner.items():
            if "__" not in key and not _is_large(value):
                with suppress(NotPlainError):
                    found[key] = encode(value, {})
    return found


def _is_large(value: Any) -> bool:
    """Whether it is data rather than a count; reading it again and again would take its time."""
    if isinstance(value, Tensor | np.ndarray):
        return bool(value.nbytes > _LARGE)
    return isinstance(value, list | tuple | dict | set) and len(value) > _LARGE // 1000
