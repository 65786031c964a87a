"""A study file beside the results that it extends."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hdsens.errors import InputError
from hdsens.store import Location, Store, as_location
from hdsens.study import Study


def store_of_study(name: str, out: Location | None) -> Store:
    """The results folder of a study: where it was asked for, else `results/<name>`."""
    return Store(Path("results") / name if out is None else as_location(out))


def read_study(file: str | Path, out: Location | None = None) -> Study:
    """Read a study file.

    A factor that the study's results have already keeps its name, also where a later release gave
    that name to a column of the analysis and no new study may have it.

    Args:
        file: a TOML file.
        out: results folder, where it is not the default one.

    Raises:
        InputError: the file cannot be read, is not TOML, or breaks a rule.
    """
    try:
        return Study.from_toml(file)
    except InputError:
        known = _known_factors(file, out)
        if not known:
            raise
    return Study.from_toml(file, known_factors=known)


def _known_factors(file: str | Path, out: Location | None) -> frozenset[str]:
    """Factors of the study that the results folder holds; empty where it holds none."""
    try:
        name = tomllib.loads(Path(file).read_text(encoding="utf-8-sig"))["name"]
        study, _ = store_of_study(name, out).study()
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InputError):
        return frozenset()
    return frozenset(factor for arm in study.arms for factor in arm.factors)
