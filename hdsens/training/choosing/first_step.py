"""Try the first steps of a study before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from hdsens.errors import USER_ERRORS, InputError, describe
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.training.choosing.own_code import try_own_code, untrained_parameters
from hdsens.training.examples import Batches, Split, load_examples
from hdsens.training.job import Job, evaluate


def try_first_step(study: Study, cells: Sequence[Cell], device: torch.device) -> Job:
    """Build a cell's model, train it on its first minibatch without an update, and evaluate it.

    Then, of a person's own code, what makes cells alike and apart: `try_own_code`.

    Raises:
        InputError: the data or the model cannot do that, so that no cell could; it says where in a
            person's own code the reason lies.
    """
    cell = cells[0]
    data, model = f"data set {study.task.data!r}", f"model {study.task.model!r}"
    with _naming(study, data, "must load"):
        job = Job(study, load_examples(study.task, device), device)
    with _naming(study, model, "must be built"):
        net = job.fresh_model(cell.seed)
    job.seed_step(cell.seed, 1)
    with _naming(study, data, "must give a minibatch"):
        batch = Batches(job.examples, cell.seed, cell.batch_size).at(1)
    known = {id(p) for p in net.parameters() if p.requires_grad}
    with _naming(study, model, "must train on a minibatch"):
        outputs = net.train()(batch.inputs)
        _check_outputs(model, outputs, batch, job.examples.n_outputs)
    with _naming(study, f"loss {study.task.loss!r}", "must take the model's outputs"):
        loss = job.loss.mean(outputs, batch.targets)
        if outputs.requires_grad and not loss.requires_grad:
            raise _without_gradient(study.task.loss)
    with _naming(study, model, "must train on a minibatch"):
        strays = untrained_parameters(net, loss, known)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    if strays:
        raise InputError(
            f"study {study.name!r}: task: {model}",
            "must have all of its parameters before it is first called, or none trains them",
            strays,
            "make them in __init__, or with torch's lazy modules such as nn.LazyLinear",
        )
    with _naming(study, model, "must be evaluated on a minibatch"):
        evaluate(net, batch, job.loss)
    try_own_code(job, cells)
    return job


def _check_outputs(model: str, outputs: object, batch: Split, n_outputs: int) -> None:
    """Refuse outputs that are no logits of each class, or no number for each real target."""
    n, wanted = len(batch.targets), "logits" if batch.has_classes else "outputs"
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else ()
    fits = len(shape) == 2 and shape[0] == n
    if not (fits and (shape[1] >= n_outputs if batch.has_classes else shape[1] == n_outputs)):
        raise InputError(
            model,
            f"must return a tensor of {n_outputs} {wanted} for each of {n} examples",
            shape if isinstance(outputs, Tensor) else type(outputs).__name__,
        )


def _without_gradient(loss: str) -> InputError:
    return InputError(
        f"loss {loss!r}",
        "must have a gradient by the model's outputs",
        remedy="compute it by torch from the outputs, undetached",
    )


@contextmanager
def _naming(study: Study, thing: str, rule: str) -> Iterator[None]:
    """Turn any error into an InputError that says what was tried."""
    task = f"study {study.name!r}: task"
    try:
        yield
    except InputError as error:
        raise error.within(task) from None
    except USER_ERRORS as error:  # whatever a person's own code raises
        raise InputError(
            f"{task}: {thing}", f"{rule}: {describe(error)}", remedy="mend it or its settings"
        ) from error
