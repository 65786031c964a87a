"""Objects that a person names as ``"package.module:name"``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from hdsens.errors import USER_ERRORS, InputError, describe


def is_import_path(name: str) -> bool:
    """Whether a name means an import (``"package.module:name"``) and not a registered name."""
    return ":" in name


def import_object(name: str, what: str = "object") -> Any:
    """Import the object ``"package.module:name"``; ``what`` says in errors what it is for.

    Raises:
        InputError: the path is malformed, the module is not there or raises while it is imported,
            or the module has no such attribute.
    """
    thing = f"{what} {name!r}"
    module_name, _, attribute = name.partition(":")
    if not (_is_dotted(module_name) and attribute.isidentifier()):
        raise InputError(thing, "must have the form 'package.module:name'")
    module = _import_module(module_name, thing)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(
            thing,
            f"must name something that module {module_name!r} has",
            attribute,
            _hidden(module_name, module),
        ) from None


def import_factory(name: str, what: str) -> Callable[..., Any]:
    """Import as `import_object` does, and check that the object can be called.

    Raises:
        InputError: as `import_object`, or the object cannot be called.
    """
    factory = import_object(name, what)
    if not callable(factory):
        raise InputError(f"{what} {name!r}", "must be callable", factory)
    return factory  # type: ignore[no-any-return]  # what a person wrote has any type


def call_factory(
    factory: Callable[..., Any], settings: Mapping[str, Any], offered: Mapping[str, Any]
) -> Any:
    """Call ``factory(**settings)``, with those offered arguments that its signature names.

    A setting goes before an offered argument of the same name. What the factory raises is not
    caught.
    """
    named = _parameter_names(factory)
    extra = {key: value for key, value in offered.items() if key in named}
    return factory(**{**extra, **settings})


def _is_dotted(module_name: str) -> bool:
    return all(part.isidentifier() for part in module_name.split("."))


def _import_module(module_name: str, thing: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                thing,
                "must name a module that can be imported",
                module_name,
                "install it, or put its folder on PYTHONPATH",
            ) from error
        raise _import_failed(thing, error) from error
    except USER_ERRORS as error:
        raise _import_failed(thing, error) from error


def _hidden(module_name: str, module: ModuleType) -> str:
    """Return the remedy where another module hides a file of this folder that has its name."""
    here = Path(*module_name.split(".")).with_suffix(".py")
    found = getattr(module, "__file__", None) or ""
    if here.is_file() and not (found and here.samefile(found)):
        return f"rename {here} here, which that module hides"
    return ""


def _import_failed(thing: str, error: BaseException) -> InputError:
    return InputError(thing, f"must be importable; its module raised {describe(error)}")


def _parameter_names(factory: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # some built-in callables have no signature to look at
        return frozenset()
