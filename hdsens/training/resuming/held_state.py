"""State that a model holds besides parameters and buffers: a counter, a history, a generator.

Found also inside objects and closures of hooks. It is read as JSON values, and put back in place,
so that what shares it goes on to share it.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from hdsens.training.resuming.plain_values import NotPlainError, decode, encode, restored
from hdsens.training.resuming.snapshots import NotSerialisableError

_FIXED = (type, ModuleType, BuiltinFunctionType, PurePath, Enum, torch.dtype, torch.device)
_OF_MODULES = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_DEPTH = 8
_OPAQUE = {"opaque": True}

State = dict[str, Any]
"""JSON values by the path to each, such as ``model.net.count``."""


def held_state(model: nn.Module) -> State:
    """Return what a model and its modules hold besides parameters and buffers.

    Of what is no plain data it has a hash of the pickled form, where there is one.
    """
    weights = _names_of_weights(model)
    return {path: _told(value, weights) for path, (value, _) in _Walk.over(model).places.items()}


def changes_in(model: nn.Module, fresh: Mapping[str, Any] | None) -> State:
    """Return what has changed in a model's `held_state`; empty where none was taken at first.

    Raises:
        NotSerialisableError: something that is no plain data is other, or may be.
    """
    if fresh is None:
        return {}
    trained = held_state(model)
    found = {path: v for path, v in trained.items() if path not in fresh or v != fresh[path]}
    hidden = [path for path in fresh if path not in trained]
    hidden += [path for path, value in trained.items() if value == _OPAQUE]
    hidden += [path for path, value in found.items() if isinstance(value, dict) and "hash" in value]
    if hidden:
        raise NotSerialisableError(f"the model's {hidden[0]} is no plain data")
    return found


@torch.no_grad()
def put_back(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Apply to a fresh model what `changes_in` returned of one like it.

    Raises:
        NotSerialisableError: it does not hold them then.
    """
    walk = _Walk.over(model)
    for path, value in state.items():
        present, put = walk.places.get(path, (None, None))
        new = restored(present, decode(value))
        if new is not present:
            (put or walk.setter(path))(new)
    now = held_state(model)
    for path, value in state.items():
        if now.get(path) != value:
            raise NotSerialisableError(f"the model's {path} does not come back")


def _told(value: Any, weights: Mapping[int, str]) -> Any:
    try:
        return encode(value, weights)
    except NotPlainError:
        try:
            return {"hash": hashlib.sha256(pickle.dumps(value)).hexdigest()}
        except Exception:  # whatever a person's own class raises
            return _OPAQUE


def _names_of_weights(model: nn.Module) -> dict[int, str]:
    named = (*model.named_parameters(), *model.named_buffers())
    return {id(tensor): name for name, tensor in named}


Put = Callable[[Any], None]


@dataclass
class _Walk:
    """Every value by its path, with what puts another in its place; attributes by their owner."""

    places: dict[str, tuple[Any, Put | None]] = field(default_factory=dict)
    owners: dict[str, dict[str, Any]] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    @classmethod
    def over(cls, model: nn.Module) -> _Walk:
        walk = cls()
        walk._modules(model, "model", registered=True)
        return walk

    def setter(self, path: str) -> Put:
        """Return a function that adds a value which a fresh model has not yet."""
        owner, _, name = path.rpartition(".")
        if owner not in self.owners:
            raise NotSerialisableError(f"the model's {path} has no place")
        return functools.partial(self.owners[owner].__setitem__, name)

    def _modules(self, root: nn.Module, path: str, *, registered: bool) -> None:
        self._seen |= {id(module) for module in root.modules()}
        for name, module in root.named_modules():
            at = f"{path}.{name}" if name else path
            own = {k: v for k, v in vars(module).items() if k not in _OF_MODULES}
            if type(module).__module__.startswith(("torch.", "hdsens.")):
                own = {k: v for k, v in own.items() if _is_counter(k, v)}
            self.owners[at] = vars(module)
            for key, value in own.items():
                self._value(value, f"{at}.{key}", functools.partial(_put, vars(module), key))
            for kind in _HOOKS:
                for i, hook in enumerate(getattr(module, kind).values()):
                    self._value(hook, f"{at}.{kind}.{i}", None)
            if not registered:
                for key, tensor in (*module._parameters.items(), *module._buffers.items()):
                    self._value(tensor, f"{at}.{key}", None)

    def _value(self, value: Any, path: str, put: Put | None) -> None:
        if isinstance(value, _FIXED) or path.count(".") > 3 * _DEPTH:
            return
        parts = list(_parts(value))
        if not parts and not isinstance(value, FunctionType | MethodType | nn.Module):
            self.places[path] = (value, put)
        if id(value) in self._seen or not (parts or isinstance(value, nn.Module)):
            return
        self._seen.add(id(value))
        if isinstance(value, nn.Module):
            self._modules(value, path, registered=False)
            return
        if hasattr(value, "__dict__") and not isinstance(value, FunctionType):
            self.owners[path] = vars(value)
        for key, part, put_part in parts:
            self._value(part, f"{path}.{key}", put_part)


def _is_counter(name: str, value: Any) -> bool:
    """Whether an attribute of a torch module may be a person's own, such as a counter."""
    return not name.startswith("_") and isinstance(
        value, int | float | list | dict | torch.Generator
    )


def _parts(value: Any) -> Iterator[tuple[str, Any, Put | None]]:
    """Yield what is inside a value that is no plain data; nothing for opaque objects."""
    if isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield name, cell.cell_contents, functools.partial(setattr, cell, "cell_contents")
        for i, default in enumerate(value.__defaults__ or ()):
            yield f"default{i}", default, None
        yield from _items(vars(value))
    elif isinstance(value, MethodType):
        yield "self", value.__self__, None
        yield "function", value.__func__, None
    elif isinstance(value, functools.partial):
        yield "function", value.func, None
        for i, argument in enumerate((*value.args, *value.keywords.values())):
            yield f"argument{i}", argument, None
    elif _is_plain(value):
        return
    elif isinstance(value, dict):
        yield from _items(value)
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            put = functools.partial(_put, value, i) if isinstance(value, list) else None
            yield str(i), part, put
    elif type(value).__module__ not in ("builtins", "logging", "_thread", "io"):
        yield from _items(getattr(value, "__dict__", {}))


def _items(mapping: dict[Any, Any]) -> Iterator[tuple[str, Any, Put | None]]:
    for key, part in mapping.items():
        yield str(key), part, functools.partial(_put, mapping, key)


def _put(holder: Any, key: Any, value: Any) -> None:
    holder[key] = value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Tensor):
        return True
    try:
        encode(value, {})
    except NotPlainError:
        return False
    return True
