"""The rules of a study file as errors that a person can act on."""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from hdsens.errors import InputError, shown
from hdsens.study.task_factors import is_factor_name

MAX_NAME_BYTES = 100
MAX_TEXT = 1000
MAX_DEPTH = 20
_RULES = {
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "too_short": "must have at least one entry",
    "int_type": "must be a whole number",
    "string_type": "must be text",
}
_UNSET = "\0unset"


def rule_broken(
    rule: str, value: Any = _UNSET, *, part: str = "", remedy: str = ""
) -> PydanticCustomError:
    """Make the error that a validator raises; `explain` turns it into an `InputError`."""
    return PydanticCustomError(
        "rule", "{rule}", {"rule": rule, "value": value, "part": part, "remedy": remedy}
    )


def text(value: str) -> str:
    """Check that text is printable and not too long."""
    if not value.isprintable() or len(value) > MAX_TEXT:
        raise rule_broken(
            f"must be printable text of at most {MAX_TEXT} characters", value, remedy="shorten it"
        )
    return value


def dotted_name(value: object) -> object:
    """Check the name of a model, data set or optimizer, or where to import it from."""
    if isinstance(value, str) and not value.strip():
        raise rule_broken("must be text that is not empty", remedy="see `hdsens list`")
    return text(value) if isinstance(value, str) else value


def printable_name(value: object) -> object:
    """Check a label: printable text of at most 100 bytes."""
    if not isinstance(value, str) or not value.strip():
        raise rule_broken("must be text that is not empty", remedy="e.g. 'sgd_hd'")
    if not value.isprintable():
        raise rule_broken("must be printable", remedy="remove control characters")
    if len(value.encode()) > MAX_NAME_BYTES:
        raise rule_broken(f"must be at most {MAX_NAME_BYTES} bytes long", remedy="shorten it")
    return value


def safe_name(value: object) -> object:
    """Check a label that is also the name of a folder."""
    printable_name(value)
    if any(c in "/\\:" for c in str(value)) or str(value)[0] in ".-~ ":
        raise rule_broken(
            "must be a plain name, not a path",
            remedy="use letters, digits, '_' and '-'; --out says where results go",
        )
    return value


def identifier(value: object) -> object:
    """Check a label that becomes a column of the results."""
    printable_name(value)
    if not str(value).isidentifier():
        raise rule_broken("must be a Python identifier", remedy="use letters, digits and '_'")
    return value


def factor_name(value: object) -> object:
    """Check the name of a factor, which becomes a column of the results."""
    printable_name(value)
    if not is_factor_name(str(value)):
        raise rule_broken(
            "must be a Python identifier, or model.… or data.… with one",
            remedy="use letters, digits and '_'",
        )
    return value


def number(digits: str) -> float:
    """Read the digits of a TOML file as a float.

    Raises:
        ValueError: they mean a number beyond the floats, which would become 0 or infinity.
    """
    value = float(digits)
    if value == 0 and any(digit in "123456789" for digit in digits.lower().partition("e")[0]):
        raise ValueError(f"{digits} is so small that it would become 0")
    if math.isinf(value) and "inf" not in digits.lower():
        raise ValueError(f"{digits} is so large that it would become infinity")
    return value


def check_plain(data: object) -> None:
    """Refuse data that later rules could not report on: deep nesting, and text that is not Unicode.

    Raises:
        InputError: with the first of them.
    """
    level = [data]
    for _ in range(MAX_DEPTH):
        for value in level:
            if isinstance(value, str) and not _encodable(value):
                raise InputError("study", "must hold text that is Unicode", value, "correct it")
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise InputError("study", f"must be at most {MAX_DEPTH} tables deep", remedy="flatten it")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return (*value.keys(), *value.values())
    return value if isinstance(value, list | tuple) else ()


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def explain(
    error: ValidationError, data: object, model: type[BaseModel], thing: str = "study"
) -> InputError:
    """Put the first error of a study, or of another `thing`, into one line."""
    first = error.errors(include_url=False)[0]
    name = data.get("name") if isinstance(data, Mapping) else None
    thing = f"{thing} {shown(name)}" if isinstance(name, str) else thing
    if first["type"] == "extra_forbidden":
        return _unknown_key(thing, first, data, model)
    if first["type"] == "missing":
        place = _place(first["loc"][:-1], data)
        return InputError(_join(thing, *place), f"needs {first['loc'][-1]!r}", remedy="add it")
    place = _place(first["loc"], data)
    if first["type"] != "rule":
        rule = _RULES.get(first["type"]) or first["msg"].replace("Input should be", "must be")
        return InputError(_join(thing, *place), rule, first["input"], "correct the value")
    ctx = first["ctx"]
    value = ctx["value"]
    if value == _UNSET:
        value = first["input"]
        if isinstance(value, Mapping):
            return InputError(_join(thing, *place, ctx["part"]), ctx["rule"], remedy=ctx["remedy"])
    return InputError(_join(thing, *place, ctx["part"]), ctx["rule"], value, ctx["remedy"])


def _join(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _place(loc: Sequence[str | int], data: object) -> list[str]:
    """Return the path to a value in words: ('arms', 1, 'lr') -> ["arm 'sgd_hd'", "lr"]."""
    words: list[str] = []
    for key in loc:
        data = _child(data, key)
        if isinstance(key, int) and words and words[-1] == "arms":
            name = data.get("name") if isinstance(data, Mapping) else None
            words[-1] = f"arm {shown(name)}" if isinstance(name, str) else f"arm number {key + 1}"
        elif isinstance(key, int):
            words.append(f"number {key + 1}")
        elif key != "[key]":
            words.append(key if len(key) <= MAX_NAME_BYTES else shown(key))
    return words


def _child(data: object, key: str | int) -> object:
    if isinstance(data, Mapping):
        return data.get(key)
    if isinstance(data, Sequence) and isinstance(key, int) and key < len(data):
        return data[key]
    return None


def _unknown_key(
    thing: str, error: ErrorDetails, data: object, model: type[BaseModel]
) -> InputError:
    *path, key = error["loc"]
    known = sorted(_table_at(path, model).model_fields)
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"keys are: {', '.join(known)}"
    if not close and "optimizer" in known:  # in an arm
        hint += "; an optimizer's argument goes into settings, or into factors if it varies"
    return InputError(
        _join(thing, *_place(path, data)), f"has no key {shown(str(key))}", remedy=hint
    )


def _table_at(path: Sequence[str | int], model: type[BaseModel]) -> type[BaseModel]:
    """The model that checks the table at that path."""
    for key in path:
        if isinstance(key, str) and key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation) or model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(part) for part in typing.get_args(annotation))
    return next((found for found in inner if found is not None), None)
