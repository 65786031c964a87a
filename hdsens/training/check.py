"""Everything that can be said of a study before anything is trained or written."""

from __future__ import annotations

from hdsens.errors import USER_ERRORS, InputError, describe
from hdsens.study import Study, Task
from hdsens.tasks.data import (
    check_data,
    fingerprint,
    forget_data,
    input_shape,
    load_data,
    n_classes,
    split_indices,
    train_size,
)
from hdsens.tasks.importing import is_import_path
from hdsens.tasks.names import check_input_shape, check_loss, check_model
from hdsens.training.optimizers import check_optimizers


def check_study(study: Study) -> None:
    """Check names, settings and shapes of the task and the arguments of every optimizer.

    Raises:
        InputError: with the first rule that is broken.
    """
    task = study.task
    try:
        check_data(task.data, task.data_settings)
        check_model(task.model, task.model_settings)
        check_input_shape(task.model, input_shape(task.data, task.data_settings))
        check_loss(task.loss, task.loss_settings, n_classes(task.data, task.data_settings))
        examples_to_train(task)
    except InputError as error:
        raise error.within(f"study {study.name!r}: task") from None
    except USER_ERRORS as error:  # whatever a person's own data factory raises
        raise InputError(
            f"study {study.name!r}: task: data set {task.data!r}",
            f"must load: {describe(error)}",
            remedy="mend the factory or its settings",
        ) from error
    check_optimizers(study)


def check_data_again(study: Study) -> None:
    """Call a person's own data factory once more, as each worker will.

    Raises:
        InputError: it gives other data, so that results would depend on who trains.
    """
    name, settings = study.task.data, study.task.data_settings
    if not is_import_path(name):
        return
    before = fingerprint(load_data(name, settings))
    forget_data()
    if fingerprint(load_data(name, settings)) != before:
        raise InputError(
            f"study {study.name!r}: task: data set {name!r}",
            "must give the same data at each call, but two calls differ",
            remedy="draw from a generator that the factory makes with a fixed seed",
        )


def fetch_data(study: Study) -> None:
    """Load the data once here, so that workers find them downloaded and checked.

    Raises:
        InputError: they are not to be had, or broken.
    """
    try:
        load_data(study.task.data, study.task.data_settings)
    except InputError as error:
        raise error.within(f"study {study.name!r}: task") from None


def examples_to_train(task: Task) -> int:
    """Number of training examples after the validation split.

    Raises:
        InputError: the split would leave nothing on one side.
    """
    n = train_size(task.data, task.data_settings)
    if task.validation == "test":
        return n
    return len(split_indices(n, task.validation)[0])
