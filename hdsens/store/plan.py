"""The plan: which cells train together, and by which path. Files are added, none is changed.

    plan/<generation>-<key>.parquet    packs that a run added
    plan.parquet                       packs that an earlier version of hdsens planned

The generation is one more than the highest that the writer saw, and the key hashes the packs. Where
several files hold a cell, that of the highest generation says how it trains, of two equal ones that
of the lower key: drivers that plan at the same time lose nothing of each other's, and all who read
it later agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from hdsens.store.parts import Header, broken, damaged, decode, encode
from hdsens.store.place import Place
from hdsens.store.rows import settled
from hdsens.study.packs import Path, hash_of_ids

FOLDER = "plan"
_BEFORE = "plan.parquet"
_NAME = re.compile(r"([0-9]{8,})-([0-9a-f]{32})\.parquet")
_SCHEMA = pa.schema({"pack": pa.int64(), "cell_id": pa.string(), "path": pa.string()})
_PATHS = ("plain", "fused")

Planned = tuple[Sequence[str], Path]
"""The cell_ids of a pack, and how it trains."""


def read_plan(place: Place) -> list[Planned]:
    """Read the packs in the order of planning, each cell in one of them; empty without a plan.

    Raises:
        DamagedError: a file is not what a run wrote.
    """
    files = settled(lambda: [read_plan_file(place, name) for name in plan_names(place)])
    last = {i: n for n, packs in enumerate(files) for ids, _ in packs for i in ids}
    kept = (
        ([i for i in ids if last[i] == n], path)
        for n, packs in enumerate(files)
        for ids, path in packs
    )
    return [(ids, path) for ids, path in kept if ids]


def plan_names(place: Place) -> list[str]:
    """List the files of the plan. Of two that hold a cell, the later one counts."""
    before = [] if place.entry(_BEFORE) is None else [_BEFORE]
    by_key = sorted(_files(place), key=lambda file: file[1], reverse=True)
    return [*before, *(name for _, _, name in sorted(by_key, key=lambda file: file[0]))]


def is_plan_file(name: str) -> bool:
    """Whether a file of plan/ has the name of a file of the plan."""
    return _NAME.fullmatch(name) is not None


def read_plan_file(place: Place, name: str) -> list[Planned]:
    """Read the packs of one file; raises as `read_plan`, and FileNotFoundError where it is gone."""
    table, header = decode(place, name, partial(_known_names, place, name))
    known = pc.all(pc.is_in(table["path"], pa.array(_PATHS)), min_count=0).as_py()
    if any(column.null_count for column in table.columns) or not known:
        rule = f"must name a cell and a path in each row: {_PATHS}"
        raise broken(place, name, rule, header.version)
    if pc.count_distinct(table["cell_id"]).as_py() != len(table):
        raise broken(place, name, "must name each cell once", header.version)
    packs = table.to_pandas().groupby("pack", sort=True)
    return [(pack["cell_id"].tolist(), pack["path"].iloc[0]) for _, pack in packs]


def _known_names(place: Place, name: str, header: Header) -> list[str]:
    """Check a plan's header, and return its columns without those that a later version added."""
    named = name == _BEFORE or f"-{header.key}.parquet" in name
    names: list[str] = _SCHEMA.names
    if header.part != "plan" or not named:
        raise damaged(place, name, "must be a plan of its name")
    if sorted(n for n in header.schema.names if n in names) != sorted(names) or any(
        header.schema.field(n).type != _SCHEMA.field(n).type for n in names
    ):
        rule = f"must be a plan with the columns {', '.join(names)}"
        raise broken(place, name, rule, header.version)
    return names


def add_to_plan(place: Place, packs: Iterable[Planned]) -> None:
    """Add a file to the plan: from now on these cells train in these packs."""
    rows = [
        {"pack": i, "cell_id": cell_id, "path": path}
        for i, (ids, path) in enumerate(packs)
        for cell_id in ids
    ]
    generation = 1 + max((generation for generation, _, _ in _files(place)), default=0)
    key = hash_of_ids("{pack} {cell_id} {path}".format_map(row) for row in rows)
    content = encode(pa.Table.from_pylist(rows, _SCHEMA), {"part": "plan", "key": key})
    place.write(f"{FOLDER}/{generation:08}-{key}.parquet", content)


def _files(place: Place) -> list[tuple[int, str, str]]:
    """List generation, key and name of each file of the plan."""
    named = ((_NAME.fullmatch(file), f"{FOLDER}/{file}") for file in place.entries(FOLDER))
    return [(int(found[1]), found[2], name) for found, name in named if found is not None]
