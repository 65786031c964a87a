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
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import torch
from torch import Tensor, nn

from hdsens.training.resuming.plain_values import (
    GENERATORS,
    NotPlainError,
    decode,
    encode,
    restored,
)
from hdsens.training.resuming.snapshots import NotSerialisableError

_FIXED = (type, ModuleType, BuiltinFunctionType, PurePath, Enum, torch.dtype, torch.device)
_OF_MODULES = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS_OF_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_DEEPEST = 60  # dots in a path; what lies deeper is not looked into, and no plain data
_OPAQUE = {"opaque": True}
_EMPTY = CellType()

State = dict[str, Any]
"""JSON values by the path to each, such as ``model.net.count``."""


def held_state(model: nn.Module) -> State:
    """Return what a model and its modules hold besides parameters and buffers.

    Of what is no plain data it has a hash of the pickled form, where there is one; of functions and
    classes, those of modules too, their names.
    """
    weights, walk = _names_of_weights(model), _Walk.over(model)
    told = {path: _told(value, weights) for path, (value, _) in walk.places.items()}
    return told | {path: {"hash": name} for path, name in walk.names.items()}


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
    names: dict[str, str] = field(default_factory=dict)
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
                own = {k: v for k, v in own.items() if _may_be_own(k, v)}
            self.owners[at] = vars(module)
            self.names[f"{at}.class"] = _name_of(type(module))
            for key, value in own.items():
                self._value(value, f"{at}.{key}", functools.partial(_put, vars(module), key))
            for kind in _HOOKS:
                for i, hook in enumerate(getattr(module, kind).values()):
                    self._value(hook, f"{at}.{kind}.{i}", None)
            for key, tensor in (*module._parameters.items(), *module._buffers.items()):
                if not registered:
                    self._value(tensor, f"{at}.{key}", None)
                if tensor is not None:
                    self._beside(tensor, f"{at}.{key}")

    def _beside(self, tensor: Tensor, path: str) -> None:
        """What a person hangs on a parameter or buffer: attributes and hooks."""
        self.owners[path] = vars(tensor)
        for key, value in vars(tensor).items():
            self._value(value, f"{path}.{key}", functools.partial(_put, vars(tensor), key))
        for kind in _HOOKS_OF_TENSORS:
            for i, hook in enumerate((getattr(tensor, kind, None) or {}).values()):
                self._value(hook, f"{path}.{kind}.{i}", None)

    def _value(self, value: Any, path: str, put: Put | None) -> None:
        if isinstance(value, (*_FIXED, FunctionType)):
            self.names[f"{path}.name"] = _name_of(value)
        if isinstance(value, _FIXED):
            return
        too_deep = path.count(".") > _DEEPEST
        parts = [] if too_deep else list(_parts(value))
        if too_deep or not (parts or isinstance(value, FunctionType | MethodType | nn.Module)):
            self.places[path] = (value, put)
        if id(value) in self._seen or too_deep or not (parts or isinstance(value, nn.Module)):
            return
        self._seen.add(id(value))
        if isinstance(value, nn.Module):
            self._modules(value, path, registered=False)
            return
        if hasattr(value, "__dict__") and not isinstance(value, FunctionType):
            self.owners[path] = vars(value)
        for key, part, put_part in parts:
            self._value(part, f"{path}.{key}", put_part)


def _name_of(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{name}" if name else str(value)


def _may_be_own(name: str, value: Any) -> bool:
    """Whether an attribute of a torch module may be a person's own, such as a counter."""
    if isinstance(value, (int, float, *GENERATORS)):
        return True
    of_torch = type(value).__module__.startswith(("torch", "hdsens", "builtins", "weakref"))
    return not name.startswith("_") and (not of_torch or _is_plain(value) or _has_items(value))


def _parts(value: Any) -> Iterator[tuple[str, Any, Put | None]]:
    """Yield what is inside a value that is no plain data; nothing for opaque objects."""
    if isinstance(value, FunctionType):
        yield from _variables(value)
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
    elif _has_items(value):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            put = None if isinstance(value, tuple) else functools.partial(_put, value, key)
            yield str(key), part, put
        yield from _items(getattr(value, "__dict__", {}))
    elif hasattr(value, "__wrapped__"):  # such as a cache around a function
        yield "wrapped", value.__wrapped__, None
    elif type(value).__module__ not in ("builtins", "logging", "_thread", "io"):
        yield from _items(value.__dict__ if _is_all_in_its_dict(value) else {})


def _variables(function: FunctionType) -> Iterator[tuple[str, Any, Put | None]]:
    """Yield the variables that a function has from around it, but for those never assigned."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != _EMPTY:
            yield name, cell.cell_contents, functools.partial(setattr, cell, "cell_contents")


def _has_items(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)


def _is_all_in_its_dict(value: Any) -> bool:
    """Whether an object is its attributes: no slots, and nothing that a base in C keeps inside."""
    kind = type(value)
    bare = kind.__basicsize__ <= _Bare.__basicsize__ and not kind.__itemsize__
    return hasattr(value, "__dict__") and (bare or kind is SimpleNamespace)


class _Bare:
    """An object of Python's with no attributes."""


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
