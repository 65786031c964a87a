"""Names of models and what can be set about them, to be checked with no torch imported."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hdsens.errors import InputError
from hdsens.tasks.importing import import_factory, is_import_path


@dataclass(frozen=True)
class Setting:
    """One thing that can be set about a registered model or data set."""

    default: Any
    rule: str
    holds: Callable[[Any], bool]


COUNT_RULE = "must be an integer >= 1"
SHARE_RULE = "must be a number in [0, 1)"
FLAG_RULE = "must be true or false"


def is_count(value: Any) -> bool:
    """Whether a value is an integer from 1 (``True`` is not)."""
    return type(value) is int and value >= 1


def is_share(value: Any) -> bool:
    """Whether a value is a number in [0, 1) (``False`` is not)."""
    return type(value) in (int, float) and 0 <= value < 1


def is_flag(value: Any) -> bool:
    """Whether a value is ``True`` or ``False``."""
    return type(value) is bool


MODELS: Mapping[str, Mapping[str, Setting]] = {
    "logreg": {},
    "mlp": {
        "width": Setting(1000, COUNT_RULE, is_count),
        "depth": Setting(2, COUNT_RULE, is_count),
    },
    "cnn": {
        "width": Setting(16, COUNT_RULE, is_count),
        "dropout": Setting(0.0, SHARE_RULE, is_share),
    },
    "vgg16_bn": {},
}


def is_weights(value: Any) -> bool:
    """Whether a value is a list of positive numbers, or None."""
    numbers = value if type(value) is list else []
    sound = all(type(x) in (int, float) and 0 < x < math.inf for x in numbers)
    return value is None or (bool(numbers) and sound)


LOSSES: Mapping[str, Mapping[str, Setting]] = {
    "cross_entropy": {
        "label_smoothing": Setting(0.0, SHARE_RULE, is_share),
        "weight": Setting(None, "must be a list of positive numbers, one a class", is_weights),
    },
    "mse": {},
}


def model_names() -> tuple[str, ...]:
    """List the registered models."""
    return tuple(MODELS)


def check_model(name: str, settings: Mapping[str, Any] | None = None) -> None:
    """Check a model's name, and its settings where they are given; builds nothing.

    A ``"package.module:factory"`` is imported; its settings are the factory's own affair.

    Raises:
        InputError: an unknown name, a factory that cannot be imported or called, an unknown
            setting of a registered model, or a value that it cannot have.
    """
    if is_import_path(name):
        import_factory(name, "model")
        return
    check_registered("model", name, MODELS)
    resolve_settings(f"model {name!r}", settings or {}, MODELS[name])


def loss_names() -> tuple[str, ...]:
    """List the registered losses."""
    return tuple(LOSSES)


def check_loss(name: str, settings: Mapping[str, Any], n_classes: int | None) -> None:
    """Check a loss' name and settings, and whether it takes the targets of the data.

    Args:
        name: a registered loss, or ``"package.module:loss"``, which is imported.
        settings: of the loss; of a person's own it is their own affair.
        n_classes: number of classes; None where the targets are real numbers.

    Raises:
        InputError: with the first rule that is broken.
    """
    thing = f"loss {name!r}"
    if is_import_path(name):
        import_factory(name, "loss")
        return
    if name not in LOSSES:
        raise InputError(
            thing,
            f"must be one of {', '.join(LOSSES)} or 'package.module:loss'",
            remedy=_did_you_mean(name, tuple(LOSSES)),
        )
    weight = resolve_settings(thing, settings, LOSSES[name]).get("weight")
    if (name == "cross_entropy") != (n_classes is not None):
        wanted, remedy = ("real numbers", "cross_entropy") if n_classes else ("classes", "mse")
        raise InputError(
            thing, f"needs data whose targets are {wanted}", remedy=f"use loss = {remedy!r}"
        )
    if weight is not None and len(weight) != n_classes:
        raise InputError(
            f"{thing}: weight", f"must have one number for each of {n_classes} classes", weight
        )


def check_input_shape(name: str, input_shape: tuple[int, ...]) -> None:
    """Check that a registered model can take examples of this shape; factories are not asked.

    Raises:
        InputError: `cnn` needs (channels, height, width) with sides of at least 4 pixels,
            `vgg16_bn` (3, 32, 32).
    """
    thing = f"model {name!r}"
    if name == "vgg16_bn" and input_shape != (3, 32, 32):
        raise InputError(
            thing,
            "must have inputs of shape (3, 32, 32)",
            input_shape,
            "use data = 'cifar10' or 'cifar10_small'",
        )
    if name == "cnn" and (len(input_shape) != 3 or min(input_shape[1:]) < 4):
        raise InputError(
            thing, "must have inputs of shape (channels, height, width), sides >= 4", input_shape
        )


def check_registered(what: str, name: str, known: Iterable[str]) -> None:
    """Check that a name is one of the known ones.

    Raises:
        InputError: it is not; the message lists them and the closest match.
    """
    known = tuple(known)
    if name not in known:
        raise InputError(
            f"{what} {name!r}",
            f"must be one of {', '.join(known)} or 'package.module:factory'",
            remedy=_did_you_mean(name, known),
        )


def resolve_settings(
    thing: str, settings: Mapping[str, Any], known: Mapping[str, Setting]
) -> dict[str, Any]:
    """Return the value of every known setting: as given, else its default.

    Raises:
        InputError: a setting that is not known, or a value against its rule.
    """
    for name, value in settings.items():
        if name not in known:
            raise InputError(f"{thing}: setting {name!r}", f"must be {_one_of(known)}")
        if not known[name].holds(value):
            raise InputError(f"{thing}: {name}", known[name].rule, value)
    return {name: settings.get(name, setting.default) for name, setting in known.items()}


def _one_of(known: Iterable[str]) -> str:
    names = tuple(known)
    return f"one of {', '.join(names)}" if names else "left out: there is nothing to set"


def _did_you_mean(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
