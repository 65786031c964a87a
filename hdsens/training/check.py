"""Everything that can be said of a study before anything is trained or written."""

from __future__ import annotations

from hdsens.errors import USER_ERRORS, InputError, describe
from hdsens.study import Study, Task
from hdsens.study.task_factors import task_of, task_points
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
    """Check names, settings and shapes of the study's tasks and the arguments of every optimizer.

    Raises:
        InputError: with the first rule that is broken.
    """
    for task in tasks_of(study):
        _check_task(study, task)
    _check_train_sizes(study)
    check_optimizers(study)


def _check_task(study: Study, task: Task) -> None:
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


def _check_train_sizes(study: Study) -> None:
    """Refuse epochs that are not equally long at all levels of a factor."""
    if study.task.epochs is None:
        return
    sizes = sorted({examples_to_train(task) for task in tasks_of(study)})
    if len(sizes) > 1:
        raise InputError(
            f"study {study.name!r}: task: epochs",
            "must have the same number of training examples at every level of data.…",
            sizes,
            "give the budget as steps",
        )


def tasks_of(study: Study) -> list[Task]:
    """Return the tasks that the study's cells train on: several with factors such as model.width.

    Tasks that differ in their budgets alone are one here.
    """
    tasks: list[Task] = []
    for point in task_points(study):
        task = task_of(study.task, point)
        if task not in tasks:
            tasks.append(task)
    return tasks


def check_data_again(study: Study) -> None:
    """Call a person's own data factory once more, as each worker will.

    Raises:
        InputError: it gives other data, so that results would depend on who trains.
    """
    if not is_import_path(study.task.data):
        return
    for name, settings in ((task.data, task.data_settings) for task in tasks_of(study)):
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
    for task in tasks_of(study):
        try:
            load_data(task.data, task.data_settings)
        except InputError as error:
            raise error.within(f"study {study.name!r}: task") from None


def training_examples(study: Study) -> int:
    """Number of training examples of the study's first task, by which epochs become steps."""
    return examples_to_train(tasks_of(study)[0])


def examples_to_train(task: Task) -> int:
    """Number of training examples after the validation split.

    Raises:
        InputError: the split would leave nothing on one side.
    """
    n = train_size(task.data, task.data_settings)
    if task.validation == "test":
        return n
    return len(split_indices(n, task.validation)[0])
