"""Build and check the torch optimizer that an arm declares."""

from __future__ import annotations

import difflib
import inspect
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch.optim.lr_scheduler import MultiplicativeLR

import hdsens.optim
from hdsens.errors import USER_ERRORS, InputError, describe
from hdsens.study import ARM_FACTORS, Arm, Study, Task
from hdsens.study.cells import arm_arguments
from hdsens.study.levels import Level
from hdsens.tasks.importing import import_object


def optimizer_class(path: str) -> type[torch.optim.Optimizer]:
    """Find a class of hdsens.optim or torch.optim by name, or any as "package.module:Class".

    Raises:
        InputError: there is none.
    """
    if ":" in path:
        found = import_object(path, what="optimizer")
    else:
        found = getattr(hdsens.optim, path, None) or getattr(torch.optim, path, None)
    if not (inspect.isclass(found) and issubclass(found, torch.optim.Optimizer)):
        raise InputError(
            "optimizer",
            "must be a class of hdsens.optim or torch.optim, or 'package.module:Class'",
            path,
            _closest(path),
        )
    if needs_closure(found):
        raise InputError(
            "optimizer", "must do its step without a closure", path, "choose a first-order one"
        )
    return found


def _closest(path: str) -> str:
    names = {name.lower(): name for name in (*hdsens.optim.__all__, *torch.optim.__all__)}
    found = difflib.get_close_matches(path.lower().replace("-", ""), names, n=1)
    return f"did you mean {names[found[0]]!r}?" if found else "e.g. SGD, SGDHD, Adam, AdamHD"


def needs_closure(optimizer: type[torch.optim.Optimizer]) -> bool:
    """Whether a step must be able to evaluate the loss again, as L-BFGS does."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def build_optimizer(
    parameters: Iterable[torch.Tensor], arm: Arm, task: Task, factors: Mapping[str, Level]
) -> torch.optim.Optimizer:
    """Build the optimizer of one cell.

    Raises:
        InputError: the task's weight decay is asked of an optimizer that has none.
        TypeError, ValueError: as the optimizer's constructor does.
    """
    optimizer = optimizer_class(arm.optimizer)
    arguments = arm_arguments(arm, task, factors)
    if not _accepts(optimizer, "weight_decay"):
        if arguments["weight_decay"] != 0:
            raise InputError(
                f"optimizer {arm.optimizer}",
                "must take weight_decay, because the task has one",
                arguments["weight_decay"],
                "set weight_decay = 0 in the task",
            )
        del arguments["weight_decay"]
    return optimizer(parameters, **arguments)


def set_mode(optimizer: torch.optim.Optimizer, mode: Literal["train", "eval"]) -> None:
    """Call an optimizer's `train()` or `eval()`, where it has both.

    Such a one is evaluated at other weights than it trains at, as Schedule-Free is.
    """
    if all(callable(getattr(optimizer, name, None)) for name in ("train", "eval")):
        getattr(optimizer, mode)()


def build_schedule(optimizer: torch.optim.Optimizer, name: str) -> MultiplicativeLR | None:
    """Build a schedule: `inv_sqrt` gives step t the factor 1/√t, `none` is None.

    It multiplies the present lr from step to step, so an lr that HD adapts is kept.
    """
    if name == "none":
        return None
    return MultiplicativeLR(optimizer, inv_sqrt_factor)


def inv_sqrt_factor(taken: int) -> float:
    """Return the factor from the lr of step `taken` to that of the next under `inv_sqrt`."""
    return math.sqrt(taken / (taken + 1))


def check_optimizers(study: Study) -> None:
    """Build the optimizer of every combination of factors, and take a step on one number.

    Of `lr` and `hypergrad_lr`, which depend on no other argument, each level is tried once.

    Raises:
        InputError: an unknown optimizer, arguments that it refuses, or a step that it cannot take.
    """
    for arm in study.arms:
        thing = f"study {study.name!r}: arm {arm.name!r}"
        for factors in _points(arm):
            weight = _weight()
            try:
                optimizer = build_optimizer([weight], arm, study.task, factors)
            except InputError as error:
                raise error.within(thing) from None
            except USER_ERRORS as error:  # whatever a person's own optimizer raises
                raise InputError(
                    f"{thing}: optimizer {arm.optimizer}",
                    f"refuses its arguments: {describe(error)}",
                    {**arm.settings, **factors},
                    "mend the arm's settings or factors",
                ) from None
            try:
                set_mode(optimizer, "train")
                optimizer.step()
            except USER_ERRORS as error:
                raise InputError(
                    f"{thing}: optimizer {arm.optimizer}",
                    f"must take a step on a vector with a dense gradient: {describe(error)}",
                    remedy="choose another optimizer, see `hdsens list`",
                ) from None
            _check_lr(f"{thing}: optimizer {arm.optimizer}", optimizer)


def _check_lr(thing: str, optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer that does not keep its lr as one number in each param group."""
    for group in optimizer.param_groups:
        try:
            float(group["lr"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise InputError(
                thing,
                "must keep its learning rate as one number 'lr' in each of its param groups",
                group.get("lr", sorted(group.keys() - {"params"})),
                "pass torch.optim.Optimizer the defaults under that name",
            ) from None


def trains_any_model(optimizer: type[torch.optim.Optimizer]) -> bool:
    """Whether it steps on a vector with a dense gradient, as it is; Muon and SparseAdam do not."""
    if needs_closure(optimizer):
        return False
    try:
        optimizer([_weight()], lr=0.1).step()  # type: ignore[call-arg] # each has an lr
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _weight() -> torch.nn.Parameter:
    """Make a parameter in float64, where no lr overflows: in training that is divergence."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.ones_like(weight)
    return weight


def _points(arm: Arm) -> Iterator[dict[str, Level]]:
    levels = arm.factor_levels
    first = {name: levels[name][0] for name in ARM_FACTORS if name in levels}
    for name in first:
        yield from ({**{n: v[0] for n, v in levels.items()}, name: level} for level in levels[name])
    others = [name for name in levels if name not in first]
    for point in itertools.product(*(levels[name] for name in others)):
        yield {**first, **dict(zip(others, point, strict=True))}


def _accepts(function: Any, argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )
