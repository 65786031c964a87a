"""Numbers as text: one way to write a level, a value, an interval."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NONE = "–"


def level(value: object, digits: int = 3) -> str:
    """A level as one would type it, with at most `digits` significant digits.

    Whole numbers below a million are written out.

    >>> [level(v) for v in (0.0, 1e-4, 3.16228e-4, 0.1, 16384.0, math.inf, True, "none")]
    ['0', '1e-4', '3.16e-4', '0.1', '16384', '∞', 'true', 'none']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return number(value)
    if value == int(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    if not 1e-2 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def exact_level(value: object) -> str:
    """A level with as few digits as tell it from any other.

    >>> exact_level(1e-5), exact_level(0.12345678)
    ('1e-5', '0.12345678')
    """
    if not isinstance(value, float) or not math.isfinite(value):
        return level(value)
    return next(text for d in range(3, 18) if float(text := level(value, d)) == value)


def setting_words(arm: str, levels: Mapping[Any, Any]) -> str:
    """An arm with the levels of its factors; null ones are left out.

    >>> setting_words("sgd_hd", {"lr": 0.0, "hypergrad_lr": 1e-3, "rule": None})
    'sgd_hd, lr 0, hypergrad_lr 1e-3'
    """
    known = {k: v for k, v in levels.items() if v is not None and v == v}
    return ", ".join([arm, *(f"{name} {level(value)}" for name, value in known.items())])


def number(value: float | None, digits: int = 3) -> str:
    """A measured value with `digits` significant digits; a dash where there is none.

    >>> [number(v) for v in (0.12345, -0.0021, 2.3026, 1234.5, 0.00001234, None)]
    ['0.123', '−0.0021', '2.30', '1234', '1.23e−5', '–']
    """
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    decimals = min(decimals, 4)
    return f"{value:.{decimals}f}".replace("-", "−")


def share(value: float) -> str:
    """A regret or a share, with three decimals, so that a column compares at a glance.

    >>> share(0.61234), share(-0.00001), share(float("nan"))
    ('0.612', '0.000', '–')
    """
    if math.isnan(value):
        return NONE
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text.replace("-", "−")


def percent(value: float) -> str:
    """A share in percent, without the sign: one decimal where that says something.

    >>> percent(0.4651), percent(0.0362), percent(-0.0011), percent(1.0), percent(float("nan"))
    ('47', '3.6', '−0.1', '100', '–')
    """
    if math.isnan(value):
        return NONE
    text = f"{100 * value:.1f}" if abs(value) < 0.0995 else f"{100 * value:.0f}"
    return "0" if text in ("0.0", "-0.0", "-0") else text.replace("-", "−")


def interval(
    estimate: float, lower: float, upper: float, write: Callable[[float], str] = share
) -> str:
    """An estimate with its 95% interval; without one where there is none.

    >>> interval(0.31, 0.25, 0.37), interval(0.31, float("nan"), float("nan"))
    ('0.310 [0.250, 0.370]', '0.310')
    """
    if math.isnan(lower) or math.isnan(upper):
        return write(estimate)
    return f"{write(estimate)} [{write(lower)}, {write(upper)}]"


def read_number(text: str) -> float:
    """The value that `number` or `level` wrote, to the digits it wrote.

    >>> read_number("−0.0021"), read_number("1.23e−5"), read_number("–")
    (-0.0021, 1.23e-05, nan)
    """
    cleaned = re.sub("^–$", "nan", text.strip()).replace("−", "-").replace("∞", "inf")
    return float(cleaned)


def count(n: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun, plural where it is.

    >>> count(1, "cell"), count(1250, "cell"), count(0, "seed"), count(2, "is", "are")
    ('1 cell', '1,250 cells', '0 seeds', '2 are')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> [duration(s) for s in (0.43, 12.3, 312, 7500, 200_000)]
    ['0.4 s', '12 s', '5.2 min', '2.1 h', '2.3 d']
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for size, unit, limit in ((60, "min", 3600), (3600, "h", 2 * 86400)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86400:.1f} d"


def join(words: list[str]) -> str:
    """Words as a list in a sentence.

    >>> join(["a"]), join(["a", "b"]), join(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def list_seeds(seeds: Sequence[int]) -> str:
    """Write seeds shortly: a run of them by its ends.

    >>> list_seeds([0, 1, 2, 3]), list_seeds([0, 5])
    ('0 to 3', '0, 5')
    """
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
