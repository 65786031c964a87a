"""The state of any torch optimizer as arrays and JSON values, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hdsens.training.resuming.snapshots import NotSerialisableError, to_array, to_tensor

_KNOWN = ("torch.optim.", "hdsens.optim.")  # state_dict is all of their state


def save_optimizer(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return an optimizer's state as arrays, axis 0 = the one cell, and JSON values.

    Attributes that a person's own optimizer keeps beside its `state_dict` are saved too.

    Raises:
        NotSerialisableError: something in it is neither a tensor nor a JSON value.
    """
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise NotSerialisableError(f"{type(optimizer).__name__} has hooks, which may keep a state")
    if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad:
        raise NotSerialisableError(f"{type(optimizer).__name__} may keep gradients for later steps")
    whole = optimizer.state_dict()
    saved = {
        "state": {str(key): values for key, values in whole["state"].items()},
        "groups": [
            {name: value for name, value in group.items() if name != "params"}
            for group in whole["param_groups"]
        ],
        "attributes": _attributes(optimizer),
    }
    if not all(isinstance(key, int) for key in whole["state"]):
        raise NotSerialisableError(
            f"{type(optimizer).__name__} has state of its own beside its parameters'"
        )
    arrays: dict[str, np.ndarray] = {}
    details = _encode(saved, "optimizer", arrays)
    if any(name.startswith("optimizer/attributes/") for name in arrays):
        raise NotSerialisableError(f"{type(optimizer).__name__} keeps tensors outside its state")
    return arrays, details


def load_optimizer(
    optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray], saved: Mapping[str, Any]
) -> None:
    """Give a new optimizer the state that `save_optimizer` took from one like it."""
    decoded = _decode(saved, arrays)
    whole = optimizer.state_dict()
    for group, kept in zip(whole["param_groups"], decoded["groups"], strict=True):
        group.update({name: _like(group.get(name), value) for name, value in kept.items()})
    whole["state"] = {int(key): values for key, values in decoded["state"].items()}
    optimizer.load_state_dict(whole)
    _mend_dtypes(optimizer, decoded["state"])
    for name, value in decoded["attributes"].items():
        setattr(optimizer, name, _like(getattr(optimizer, name, None), value))


def _attributes(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    if type(optimizer).__module__.startswith(_KNOWN):
        return {}
    slots = {name for kind in type(optimizer).__mro__ for name in _slots(kind)}
    found = {name: getattr(optimizer, name) for name in slots if hasattr(optimizer, name)}
    own = {name: v for name, v in vars(optimizer).items() if name not in _torchs_own()}
    return {**found, **own, "defaults": optimizer.defaults}


def _slots(kind: type) -> tuple[str, ...]:
    """Return the names of the attributes that a class keeps outside `__dict__`."""
    named = vars(kind).get("__slots__", ())
    slots = (named,) if isinstance(named, str) else tuple(named)
    return tuple(name for name in slots if name not in ("__dict__", "__weakref__"))


@cache
def _torchs_own() -> frozenset[str]:
    """Attributes that torch gives any optimizer; the first one made imports torch's compiler."""
    return frozenset(vars(torch.optim.SGD([nn.Parameter(torch.zeros(()))])))


def _mend_dtypes(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Undo torch's cast of loaded state to the dtype of its parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, values in saved.items():
        held = optimizer.state[parameters[int(key)]]
        for name, value in values.items():
            if isinstance(value, Tensor) and held[name].dtype != value.dtype:
                held[name] = value.to(held[name].device)


def _encode(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Encode a value as JSON; its tensors join `arrays`, and their names stand in their place."""
    if isinstance(value, Tensor):
        arrays[name] = to_array(value)[None]
        return {"tensor": name}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encode(v, f"{name}/{key}", arrays) for key, v in value.items()}}
    if type(value) in (list, tuple):
        parts = [_encode(v, f"{name}/{i}", arrays) for i, v in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise NotSerialisableError(f"{name} is a {type(value).__name__}")


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(v, arrays) for v in value]
    if not isinstance(value, Mapping):
        return value
    if "tensor" in value:
        return to_tensor(arrays[value["tensor"]][0], torch.device("cpu"))
    if "float" in value:
        return float(value["float"])
    if "tuple" in value:
        return tuple(_decode(v, arrays) for v in value["tuple"])
    return {key: _decode(v, arrays) for key, v in value["dict"].items()}


def _like(model: Any, value: Any) -> Any:
    """Turn JSON's lists back into tuples where the optimizer had them."""
    return tuple(value) if isinstance(model, tuple) and isinstance(value, list) else value
