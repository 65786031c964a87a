"""How a pack would run a study's model, found without data."""

from __future__ import annotations

import torch

from hdsens.errors import InputError, describe
from hdsens.study import Study
from hdsens.tasks.data import input_shape, load_data
from hdsens.tasks.importing import is_import_path
from hdsens.tasks.models import build_model
from hdsens.training.environment import training_environment
from hdsens.training.stack import Stack

_CLASSES = 10  # of registered data, which stay unread


def explain_layers(study: Study) -> str:
    """How a pack would run the layers of the study's model, or why it cannot; two examples of 0.

    A person's own model is built too, for the classes of their own data.

    Raises:
        InputError: its factory returns no model that can be trained.
    """
    task = study.task
    shape = input_shape(task.data, task.data_settings)
    own_data = is_import_path(task.data)
    n_classes = load_data(task.data, task.data_settings).n_classes if own_data else _CLASSES
    with training_environment(getattr(torch, task.dtype), torch.get_num_threads()):
        try:
            model = build_model(task.model, task.model_settings, shape, n_classes).train()
            model(torch.zeros(2, *shape))
        except InputError as error:
            raise error.within(f"study {study.name!r}: task") from None
        except Exception as error:  # whatever a person's own code raises
            return f"none, because the model raises {describe(error)}"
        try:
            stack = Stack.of(model, 2)
            logits = stack(torch.zeros(2, *shape))
            torch.autograd.backward(logits, torch.ones_like(logits))
        except Exception as error:  # whatever a user's model raises under vmap
            return f"the plain loop, because together: {describe(error)}"
        ways = stack.layers_by_way()
    return "; ".join(f"{', '.join(kinds)} {way}" for way, kinds in ways.items() if kinds)
