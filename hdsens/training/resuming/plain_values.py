"""Plain data of any Python program as JSON values, and back: numbers, text, arrays, generators."""

from __future__ import annotations

import base64
import math
import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_SEQUENCES = {kind.__name__: kind for kind in (list, tuple, set, frozenset)}
_MAPPINGS = {kind.__name__: kind for kind in (dict, OrderedDict, Counter)}
_FACTORIES = {kind.__name__: kind for kind in (int, float, str, list, dict, set)}
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


class NotPlainError(Exception):
    """A value is no plain data."""


@dataclass(frozen=True)
class GeneratorState:
    """Where a generator stands; `restored` sets it."""

    state: Any


def encode(value: Any, names: Mapping[int, str]) -> Any:
    """JSON values for plain data; tensors that have a name, by their id, stand under it.

    Plain are exactly these types, since what a class of one's own adds would be lost. A generator
    is plain by itself, and not in a container: that must hold it still, whatever it held.

    Raises:
        NotPlainError: it is something else.
    """
    if type(value) in GENERATORS:
        return {"generator": _encode(_state_of(value), names)}
    return _encode(value, names)


def _encode(value: Any, names: Mapping[int, str]) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if type(value) in _SEQUENCES.values():
        return {type(value).__name__: _all(value, names)}
    if type(value) is deque:
        return {"deque": _all(value, names), "most": value.maxlen}
    if type(value) in _MAPPINGS.values():
        items = [[_encode(k, names), _encode(v, names)] for k, v in value.items()]
        return {type(value).__name__: items}
    if type(value) is defaultdict and value.default_factory in _FACTORIES.values():
        items = [[_encode(k, names), _encode(v, names)] for k, v in value.items()]
        return {"defaultdict": items, "of": getattr(value.default_factory, "__name__", "")}
    if id(value) in names or type(value) in (Tensor, nn.Parameter):
        return {"weight": names[id(value)]} if id(value) in names else _encode_tensor(value)
    if (type(value) is np.ndarray or isinstance(value, np.generic)) and not value.dtype.hasobject:
        return {"array": [value.dtype.str, list(value.shape), _text(value.tobytes())],
                "scalar": isinstance(value, np.generic)}  # fmt: skip
    if type(value) in (bytes, complex):
        return {"bytes": _text(value)} if isinstance(value, bytes) else {"complex": repr(value)}
    raise NotPlainError(type(value).__name__)


def decode(told: Any) -> Any:
    """The value again; a `GeneratorState` for a generator."""
    if not isinstance(told, Mapping):
        return told
    ((kind, content), *_) = told.items()
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](map(decode, content))
    if kind == "deque":
        return deque(map(decode, content), told["most"])
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]({decode(k): decode(v) for k, v in content})
    if kind == "defaultdict":
        return defaultdict(_FACTORIES[told["of"]], {decode(k): decode(v) for k, v in content})
    if kind == "tensor":
        dtype, shape, text = content
        if not text:  # torch.frombuffer takes no empty buffer
            return torch.empty(shape, dtype=getattr(torch, dtype))
        flat = torch.frombuffer(bytearray(_bytes(text)), dtype=torch.uint8)
        return flat.view(getattr(torch, dtype)).reshape(shape).clone()
    if kind == "array":
        array = np.frombuffer(_bytes(content[2]), np.dtype(content[0])).reshape(content[1]).copy()
        return array[()] if told["scalar"] else array
    if kind == "generator":
        return GeneratorState(decode(content))
    parsers: Mapping[str, Callable[[Any], Any]] = {
        "float": float,
        "complex": complex,
        "bytes": _bytes,
    }
    return parsers[kind](content)


def restored(present: Any, new: Any) -> Any:
    """The new value, in the place of the present one where that can be written over."""
    if isinstance(new, GeneratorState):
        _set_state(present, new.state)
        return present
    if isinstance(present, list) and type(present) is type(new):
        present[:] = new
        return present
    if isinstance(present, dict) and isinstance(new, dict):
        present.clear()
        present.update(new)
        return present
    if isinstance(present, deque) and isinstance(new, deque) and present.maxlen == new.maxlen:
        present.clear()
        present.extend(new)
        return present
    if isinstance(present, np.ndarray) and isinstance(new, np.ndarray):
        if (present.shape, present.dtype) == (new.shape, new.dtype) and present.flags.writeable:
            present[...] = new
            return present
        return new
    if isinstance(present, set) and isinstance(new, set):
        present.clear()
        present.update(new)
        return present
    if isinstance(present, Tensor) and isinstance(new, Tensor):
        if (present.shape, present.dtype) == (new.shape, new.dtype):
            present.copy_(new)
            return present
        return new.to(present.device)
    return new


def _all(values: Any, names: Mapping[int, str]) -> list[Any]:
    told = [_encode(value, names) for value in values]
    return sorted(told, key=repr) if isinstance(values, set | frozenset) else told


def _encode_tensor(tensor: Tensor) -> dict[str, Any]:
    try:
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        content = flat.numpy().tobytes()
    except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, or one of vmap's
        raise NotPlainError("a tensor of an unusual kind") from error
    return {"tensor": [str(tensor.dtype).partition(".")[2], list(tensor.shape), _text(content)]}


def _state_of(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
