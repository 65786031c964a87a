"""Files of older and newer minor versions are read, those of other major versions refused."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_cases import N_TRAIN, cells_of, pack, record

from hdsens import InputError, Study, read_cells, read_traces, run
from hdsens.records import failure
from hdsens.store import Store
from hdsens.store.parts import DamagedError, Part, read_part
from hdsens.store.schema import KINDS, VERSION, version_of
from hdsens.study.packs import pack_cells

FEW = settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
LATER = "1.99"


@pytest.fixture
def full(store, small):
    """Two packs of 8 cells and a failure in a part of its own, twice."""
    study, cells = Study.from_dict(small), cells_of(small)
    for members in (cells[:8], cells[8:16]):
        store.append(study, pack(*map(record, members)))
    for cell in cells[16:]:
        store.append(study, pack(failure(cell, "broken")))
    return store


def parts(store, kind):
    return sorted((store.folder / "parts").glob(f"{kind}-*.parquet"))


def rewrite(path, change=lambda table: table, **label):
    """As another version would have written it."""
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[b"hdsens"]) | label
    table = change(table).replace_schema_metadata({b"hdsens": json.dumps(said)})
    pq.write_table(table, path)


def with_column(name, values):
    return lambda table: table.append_column(name, pa.array([values] * len(table)))


def seen(store):
    return read_cells(store.folder), read_traces(store.folder)


def same(one, other):
    for left, right in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(left, right, check_exact=True)


def column_of(store, kind, name):
    rows = [row for path in parts(store, kind) for row in pq.read_table(path).to_pylist()]
    return sorted((row.get(name) for row in rows), key=str)


@pytest.mark.parametrize("value", [0.5, "text", [1, 2], {"deep": [True]}])
def test_unknown_columns_are_left_out_by_readers_and_kept_by_compaction(full, value):
    before = seen(full)
    changed = [parts(full, kind)[0] for kind in KINDS]
    for path in changed:
        rewrite(path, with_column("novel", value), schema_version=LATER)
    kept = {kind: column_of(full, kind, "novel") for kind in KINDS}
    assert value in kept["cells"]
    assert None in kept["cells"]
    same(seen(full), before)
    assert full.damage() == ()
    full.compact()
    assert [len(parts(full, kind)) for kind in KINDS] == [1, 1, 1]
    same(seen(full), before)
    assert {kind: column_of(full, kind, "novel") for kind in KINDS} == kept
    assert full.damage() == ()


@pytest.mark.parametrize("kind", KINDS)
def test_parts_that_give_one_name_to_two_kinds_of_column_are_not_merged(full, kind):
    before = seen(full)
    one, other = parts(full, kind)
    rewrite(one, with_column("novel", 1), schema_version=LATER)
    rewrite(other, with_column("novel", "text"), schema_version=LATER)
    kept = column_of(full, kind, "novel")
    full.compact()
    assert len(parts(full, kind)) == 2
    same(seen(full), before)
    assert column_of(full, kind, "novel") == kept


YOUNGER = [
    (kind, column.name)
    for kind, declared in KINDS.items()
    for column in declared.columns
    if column.since > 0 and column.prefix is None
]
FIRST = [
    (kind, column.name)
    for kind, declared in KINDS.items()
    for column in declared.columns
    if column.since == 0 and column.prefix is None
]


@FEW
@given(st.sets(st.sampled_from(YOUNGER)))
def test_a_column_that_is_younger_than_a_part_is_null(full, absent):
    for kind in KINDS:
        names = [name for where, name in absent if where == kind]
        path = parts(full, kind)[0]
        content = path.read_bytes()
        rewrite(path, lambda table, names=names: table.drop_columns(names), schema_version=1)
        table = read_part(full.place, Part(kind, path.stem.partition("-")[2]))
        assert set(table.column_names) >= {
            column.name for column in KINDS[kind].columns if column.prefix is None
        }
        assert all(table[name].null_count == len(table) for name in names)
        path.write_bytes(content)


@FEW
@given(st.sampled_from(FIRST), st.sampled_from([1, "1.0", str(VERSION)]))
def test_a_column_of_the_first_release_is_missed_in_parts_of_every_version(full, column, version):
    kind, name = column
    path = parts(full, kind)[0]
    content = path.read_bytes()
    rewrite(path, lambda table: table.drop_columns(name), schema_version=version)
    with pytest.raises(DamagedError, match=f"must have a column {name} of "):
        read_part(full.place, Part(kind, path.stem.partition("-")[2]))
    path.write_bytes(content)


@FEW
@given(st.sampled_from(list(KINDS)), st.floats(0, 1, exclude_max=True))
def test_a_part_that_was_cut_anywhere_is_damaged_and_nothing_else(full, kind, share):
    path = parts(full, kind)[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedError, match="must be readable Parquet: ") as caught:
        read_part(full.place, Part(kind, path.stem.partition("-")[2]))
    assert str(caught.value).isprintable()
    path.write_bytes(content)


def refused(store, small, message):
    """A run says so in one line, and touches nothing."""
    (found,) = store.damage()
    assert found.aside == ()
    before = {p: p.stat().st_mtime_ns for p in store.folder.rglob("*")}
    with pytest.raises(InputError) as caught:
        run(Study.from_dict(small), store.folder, executor="inline")
    assert not isinstance(caught.value, DamagedError)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert {p: p.stat().st_mtime_ns for p in store.folder.rglob("*")} == before


def test_what_a_newer_version_does_otherwise_is_refused_and_not_set_aside(full, small):
    rewrite(parts(full, "cells")[0], lambda t: t.drop_columns("lr"), schema_version=LATER)
    refused(full, small, "must have a column lr of double; it has schema version 1.99: read it")


@pytest.mark.parametrize("stated", [2, "2.0", "0.9", "1.x", "1.", "", True, None, [1], {}, 1.5])
def test_other_versions_are_refused(stated):
    assert version_of(stated) is None


@pytest.mark.parametrize("stated", [1, "1", "1.0", "1.1", LATER])
def test_every_minor_version_is_read(full, stated):
    before = seen(full)
    for kind in KINDS:
        for path in parts(full, kind):
            rewrite(path, schema_version=stated)
    same(seen(full), before)
    assert full.damage() == ()


@pytest.mark.parametrize(("stated", "damaged"), [(LATER, False), (str(VERSION), True)])
def test_a_part_of_an_unknown_kind_is_a_newer_versions_or_damage(full, stated, damaged):
    before = seen(full)
    path = full.folder / "parts" / f"trials-{'0' * 32}.parquet"
    path.write_bytes(parts(full, "cells")[0].read_bytes())
    rewrite(path, part="trials", key="0" * 32, schema_version=stated)
    assert bool(full.damage()) is damaged
    full.compact()
    same(seen(full), before)
    assert path.exists()


def document(store, **changes):
    path = store.folder / "study.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))
    return content


def test_unknown_keys_of_study_json_stay(full, small):
    document(full, schema_version=LATER, novel={"kept": [1]})
    assert full.study() == (Study.from_dict(small), N_TRAIN)
    full.begin(Study.from_dict(small | {"seeds": 3}), N_TRAIN)
    written = json.loads((full.folder / "study.json").read_text())
    assert written["novel"] == {"kept": [1]}
    assert written["schema_version"] == str(VERSION)
    assert len(full.expected()) == 27
    assert full.damage() == ()


def test_a_study_with_keys_of_a_newer_version_is_refused_and_not_set_aside(full, small):
    """They may determine results, so no cell can be said to be done."""
    content = document(full, schema_version=LATER)
    document(full, study=content["study"] | {"novel": 1})
    refused(full, small, "has no key 'novel'")
    document(full, schema_version=1)
    assert [found.aside for found in full.damage()] == [("study.json",)]


@pytest.mark.parametrize("before", [False, True])
def test_a_newer_plan_is_read_and_left_as_it_is(full, small, before):
    study, cells = Study.from_dict(small), cells_of(small)
    packs = full.plan(cells, pack_cells(cells, study, 5))
    (path,) = (full.folder / "plan").iterdir()
    if before:
        path = path.rename(full.folder / "plan.parquet")
    rewrite(path, with_column("novel", 1.0), schema_version=LATER)
    content = path.read_bytes()
    again = Store(full.folder).plan(cells, pack_cells(cells, study, 18))
    assert again == packs
    assert full.damage() == ()
    assert path.read_bytes() == content
    rewrite(path, lambda t: t.set_column(2, "path", pa.array(["sideways"] * len(t))))
    refused(full, small, "must name a cell and a path in each row")
