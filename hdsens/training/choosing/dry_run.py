"""Find out on a few examples how a pack would run a study's model."""

from __future__ import annotations

import torch

from hdsens.errors import USER_ERRORS, InputError, describe
from hdsens.study import Study
from hdsens.tasks.data import input_shape, n_classes
from hdsens.tasks.importing import is_import_path
from hdsens.training.choosing.agreement import compare_first_pass
from hdsens.training.environment import training_environment
from hdsens.training.examples import Examples, Split, load_examples
from hdsens.training.job import Job

_FEW = 4


def explain_layers(study: Study) -> str:
    """Say how a pack would run the layers of the study's model, or why it cannot.

    A person's own model is built too. Both ways make a pass on the CPU: on a few examples of one's
    own data, for registered data on noise.

    Raises:
        InputError: the model's factory returns nothing that can be trained.
    """
    cpu = torch.device("cpu")
    with training_environment(getattr(torch, study.task.dtype), torch.get_num_threads()):
        own_data = is_import_path(study.task.data)
        examples = load_examples(study.task, cpu) if own_data else _noise(study)
        job = Job(study, examples, cpu)
        batch = Split(examples.train.inputs[:_FEW], examples.train.targets[:_FEW])
        try:
            job.fresh_model(0).train()(batch.inputs.clone())
        except InputError as error:
            raise error.within(f"study {study.name!r}: task") from None
        except USER_ERRORS as error:  # whatever a person's own code raises
            return f"none, because the model raises {describe(error)}"
        try:
            ways = compare_first_pass(job, 0, batch).layers_by_way()
        except USER_ERRORS as error:  # whatever a user's model raises under vmap
            return f"the plain loop, because of {describe(error)}"
    return "; ".join(f"{', '.join(kinds)} {way}" for way, kinds in ways.items() if kinds)


def _noise(study: Study) -> Examples:
    """Make random examples of the shape and the range of values that images have."""
    name, settings = study.task.data, study.task.data_settings
    shape, dtype = input_shape(name, settings), torch.get_default_dtype()
    inputs = torch.rand(_FEW, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    classes = n_classes(name, settings)
    targets = torch.arange(_FEW) if classes else torch.arange(_FEW, dtype=dtype)[:, None]
    split = Split(inputs, targets)
    return Examples(split, split, shape, classes or 1, augment=None)
