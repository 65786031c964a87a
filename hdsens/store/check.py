"""What is damaged in a store, and how a run goes on without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from hdsens.errors import InputError
from hdsens.store.documents import STUDY, read_run, read_study, run_names
from hdsens.store.parts import (
    DamagedError,
    Part,
    check_part,
    damaged,
    is_of_later_kind,
    list_parts,
    part_of,
)
from hdsens.store.place import Place
from hdsens.store.plan import is_plan_file, plan_names, read_plan_file
from hdsens.store.rows import lost_traces, settled
from hdsens.store.schema import KINDS

SUFFIX = ".damaged"
_KINDS = " or ".join(", ".join(f"{kind}-" for kind in KINDS).rsplit(", ", 1))


@dataclass(frozen=True)
class Damage:
    """A file of a store that cannot be used, and what is lost with it.

    Attributes:
        name: of the file, relative to the store.
        error: what is said of it: the file, the rule, the remedy.
        aside: the files that a run renames; empty where a run refuses to go on.
        cells: the cells that are known to have been in it.
    """

    name: str
    error: InputError
    aside: tuple[str, ...]
    cells: frozenset[str] = frozenset()


def find_damage(place: Place) -> tuple[Damage, ...]:
    """Read every file of the store, and return what is wrong, documents first."""
    return settled(lambda: (*_documents(place), *_strangers(place), *_parts(place)))


def set_aside(place: Place, damage: Damage) -> tuple[str, ...]:
    """Rename damaged files, so that nothing reads them, and return the new names.

    Nothing is deleted.

    Raises:
        InputError: the file is one of another version.
    """
    if not damage.aside:
        raise damage.error
    renamed = []
    for name in damage.aside:
        new = _free(place, name + SUFFIX)
        try:
            place.move(name, new)
        except FileNotFoundError:  # another run was quicker
            continue
        renamed.append(new)
    return tuple(renamed)


def _documents(place: Place) -> Iterator[Damage]:
    reads: dict[str, Callable[[], object]] = {
        STUDY: partial(read_study, place),
        **{name: partial(read_plan_file, place, name) for name in plan_names(place)},
        **{name: partial(read_run, place, name) for name in run_names(place)},
    }
    for name, read in reads.items():
        try:
            if place.entry(name) is not None:
                read()
        except InputError as error:
            yield _damage(name, error, (name,))


def _strangers(place: Place) -> Iterator[Damage]:
    """Yield Parquet files whose names are neither those of parts nor of the plan."""
    for folder, known, rule in (
        ("parts", partial(_is_part, place), f"must be named {_KINDS} and 32 hex digits"),
        ("plan", is_plan_file, "must be named at least 8 digits, - and 32 hex digits"),
    ):
        for file in sorted(place.entries(folder)):
            if file.endswith(".parquet") and not file.startswith(".") and not known(file):
                name = f"{folder}/{file}"
                yield _damage(name, damaged(place, name, rule), (name,))


def _is_part(place: Place, name: str) -> bool:
    return part_of(name) is not None or is_of_later_kind(place, name)


def _parts(place: Place) -> Iterator[Damage]:
    listed = list_parts(place)
    for part in listed:
        if part.kind == "cells":
            yield from _pair(place, part)
        elif KINDS[part.kind].committed_by is None or part.of("cells") not in listed:
            error = _read(place, part)[1]
            if error is not None:
                yield _damage(part.name, error, (part.name,))


def _pair(place: Place, cells: Part) -> Iterator[Damage]:
    """Check a cells part with its traces. Where the traces are lost, its cells train again."""
    traces = cells.of("traces")
    ids, wrong = _read(place, cells)
    try:
        traced, error = _read(place, traces)
    except FileNotFoundError:
        if place.entry(cells.name) is None:
            raise
        yield _damage(traces.name, lost_traces(place, cells), (cells.name,), ids)
        return
    if wrong is None and error is None and not traced <= ids:
        error = damaged(place, traces.name, "must hold the cells that it is named after")
    if wrong is not None:
        yield _damage(cells.name, wrong, (cells.name,), traced)
    if error is not None:
        both = (traces.name, cells.name) if wrong is None else (traces.name,)
        yield _damage(traces.name, error, both, ids)


def _read(place: Place, part: Part) -> tuple[frozenset[str], InputError | None]:
    """Return a part's cell_ids, or its damage. A second reading rules out a rival run's rewrite."""
    try:
        return check_part(place, part), None
    except InputError:
        pass
    try:
        return check_part(place, part), None
    except InputError as error:
        return frozenset(), error


def _damage(
    name: str, error: InputError, aside: tuple[str, ...], cells: frozenset[str] = frozenset()
) -> Damage:
    """Describe the damage of a file; a file of another version is not to be set aside."""
    return Damage(name, error, aside if isinstance(error, DamagedError) else (), cells)


def _free(place: Place, name: str) -> str:
    candidates = (name if i == 0 else f"{name}.{i}" for i in range(1_000_000))
    return next(n for n in candidates if place.entry(n) is None)
