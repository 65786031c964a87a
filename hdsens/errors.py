"""Bad input, said in one line."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

_MISSING = object()
_NOT_ONES_OWN = {*sys.stdlib_module_names, "hdsens", "torch", "numpy", "ray"}
_INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("purelib", "platlib")})


USER_ERRORS = (Exception, SystemExit)
"""What a person's own code may raise: ``sys.exit()`` in it ends what called it, never a run."""


class InputError(ValueError):
    """Something a person gave is wrong; the command line ends with exit status 2.

    The message is one line: the thing, the rule, the value, the remedy, for example
    ``study 'logreg': arm 'sgd_hd': hypergrad_lr must be >= 0 (got -0.001); use 0 for the base
    algorithm``.

    Args:
        thing: what is wrong, outermost part first, parts joined with ``": "``.
        rule: what holds for it, beginning with a verb ("must be >= 0").
        value: what was given; left out of the message when not passed.
        remedy: what to do; left out when empty.
    """

    def __init__(self, thing: str, rule: str, value: Any = _MISSING, remedy: str = "") -> None:
        got = "" if value is _MISSING else f" (got {shown(value)})"
        tail = f"; {remedy}" if remedy else ""
        super().__init__(_one_line(f"{thing} {rule}{got}{tail}"))

    def within(self, thing: str) -> InputError:
        """The same error with what it is part of named before it."""
        return _rebuild(f"{thing}: {self}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way back from a worker process."""
        return _rebuild, (str(self),)


class StoppedError(RuntimeError):
    """A run could not go on; the command line ends with exit status 1.

    The message is one line: what happened, and what to do before the same command goes on.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


def came_through(error: BaseException, package: str) -> bool:
    """Whether code of a package raised an error or passed it on."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").startswith(package) for frame, _ in frames)


def is_signal(error: BaseException) -> bool:
    """Whether a `SystemExit` is how Ray ends a worker that got SIGTERM, not a person's own exit."""
    names = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, SystemExit) and "sigterm_handler" in names


def describe(error: BaseException, limit: int = 1000) -> str:
    """An exception in one line: type, message, and where a person's own code raised it.

    ``ValueError: width must be even (nets.py:12)``. The place is the innermost call outside
    Python, torch and this package, of what is not installed where there is any. An `InputError`
    says all by itself.
    """
    if isinstance(error, InputError):
        return str(error)
    kind, message, place = type(error).__name__, _message(error), _place(error)
    text = f"{kind}: {message}" if message else kind
    return _one_line(text[: limit - len(place)] + place)


def _message(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:  # a person's own exceptions may be broken too
        return ""


def _place(error: BaseException) -> str:
    """`` (package/module.py:line)``, or nothing."""
    found = [
        (frame.f_globals.get("__name__", ""), frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [frame for frame in found if frame[0].partition(".")[0] not in _NOT_ONES_OWN]
    here = [frame for frame in own if not frame[1].startswith(_INSTALLED)] or own
    if not here:
        return ""
    module, file, line = here[-1]
    depth = module.count(".") + 1 + file.endswith("__init__.py")
    return f" ({'/'.join(Path(file).parts[-depth:])}:{line})"


def _rebuild(message: str) -> InputError:
    error = InputError.__new__(InputError)
    ValueError.__init__(error, message)
    return error


def shown(value: Any, limit: int = 80) -> str:
    """A value in an error: as Python writes it, and never long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; endless nesting
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
