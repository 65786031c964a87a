"""Losses: registered ones, and a person's own through ``"package.module:loss"``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdsens.errors import InputError
from hdsens.tasks.importing import import_factory, is_import_path

OfBatch = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs ``(n, n_outputs)`` and targets ``(n, ...)`` to a number, a tensor without axes."""


@dataclass(frozen=True)
class Loss:
    """What training minimises.

    Attributes:
        mean: mean loss of a minibatch.
        total: sum over a batch's examples, in float64; the totals of a split's batches are added
            up and divided by `weight` of the split.
        class_weights: ``(n_classes,)``, by which the examples count; None where all count alike.
        is_plain: whether it is cross-entropy without settings, which packs have in closed form.
    """

    mean: OfBatch
    total: OfBatch
    class_weights: Tensor | None = None
    is_plain: bool = False

    def weight(self, targets: Tensor) -> float:
        """Return what the examples of a split count together: their number, or their weights."""
        if self.class_weights is None:
            return len(targets)
        return self.class_weights[targets].double().sum().item()


def build_loss(
    name: str, settings: Mapping[str, Any], dtype: torch.dtype, device: torch.device
) -> Loss:
    """Build a loss, whose name and settings `check_loss` has checked.

    - ``cross_entropy``: of classes, in nats, with torch's ``label_smoothing`` and ``weight``: with
      class weights a mean is weighted by those of its examples' classes.
    - ``mse``: mean squared error over examples and outputs.

    ``"package.module:loss"`` is a function, called as ``loss(outputs, targets, **settings)``, or a
    class such as ``torch.nn:HuberLoss``, called with the settings first. It returns the mean of a
    minibatch; a split's loss is the mean over its batches, weighted by their number of examples.

    Raises:
        InputError: a class gives something that cannot be called, or that has parameters.
    """
    if is_import_path(name):
        return _own(name, settings, dtype, device)
    if name == "mse":
        return Loss(functional.mse_loss, _squared_errors)
    weight = settings.get("weight")
    weights = None if weight is None else torch.tensor(weight, dtype=dtype, device=device)
    smoothing = settings.get("label_smoothing", 0.0)
    entropy = functools.partial(
        functional.cross_entropy, weight=weights, label_smoothing=float(smoothing)
    )
    total = functools.partial(_cross_entropies, entropy)
    return Loss(entropy, total, weights, is_plain=weights is None and not smoothing)


def _cross_entropies(entropy: Callable[..., Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
    return entropy(outputs, targets, reduction="none").double().sum()


def _squared_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(outputs, targets, reduction="none").double().mean(dim=1).sum()


def _own(name: str, settings: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> Loss:
    thing = f"loss {name!r}"
    found = import_factory(name, "loss")
    if isinstance(found, type):
        loss = found(**settings)
        if not callable(loss):
            raise InputError(thing, "must give an object that can be called", type(loss).__name__)
        if isinstance(loss, nn.Module):
            if any(True for _ in loss.parameters()):
                raise InputError(
                    thing,
                    "must have no parameters, which nothing would train",
                    remedy="put them into the model",
                )
            loss = loss.to(device=device, dtype=dtype)
    else:
        loss = functools.partial(found, **settings)

    def mean(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss(outputs, targets)
        if not (isinstance(value, Tensor) and value.ndim == 0):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                thing,
                "must return the mean loss of a minibatch, a tensor without axes",
                shape,
                "return its .mean()",
            )
        return value

    return Loss(mean, lambda outputs, targets: mean(outputs, targets).double() * len(targets))
