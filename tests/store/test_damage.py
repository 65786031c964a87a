"""A store whose files were cut, swapped, exchanged or lost."""

from __future__ import annotations

import json
import logging
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from store_cases import N_TRAIN, cells_of, pack, record
from tests_support import SMALL

from hdsens import InputError, Study, read_cells, read_traces, run
from hdsens.cli import cli
from hdsens.records import failure
from hdsens.store import read_results
from hdsens.study.packs import pack_cells

REMEDY = "; `hdsens run` sets it aside and trains again what is lost"


@pytest.fixture
def full(store, small):
    """A store of two packs of 9 cells."""
    study, cells = Study.from_dict(small), cells_of(small)
    for members in (cells[:9], cells[9:]):
        store.append(study, pack(*map(record, members)))
    return store


def parts(store, kind):
    return sorted((store.folder / "parts").glob(f"{kind}-*.parquet"))


def mend(store):
    for damage in store.damage():
        store.set_aside(damage)


def missing(store, data):
    found = store.outcomes()
    return [cell for cell in cells_of(data) if cell.cell_id not in found]


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    """One bit of the first column, which a footer alone does not show."""
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(bytes(content))


def folder(path):
    path.unlink()
    path.mkdir()


def foreign(path):
    pq.write_table(pa.table({"a": [1, 2]}), path)


def relabelled(change):
    def damage(path):
        table = pq.read_table(path)
        label = json.loads(table.schema.metadata[b"hdsens"])
        table, label = change(table, label)
        pq.write_table(table.replace_schema_metadata({b"hdsens": json.dumps(label)}), path)

    return damage


def swap(path):
    other = next(p for p in path.parent.glob(f"{path.name.split('-')[0]}-*") if p != path)
    shutil.copy(other, path)


fewer = relabelled(lambda table, label: (table.slice(1), label))
without = relabelled(lambda table, label: (table.drop_columns("lr"), label))
twice = relabelled(lambda table, label: (table.append_column("lr", table["lr"]), label))
retyped = relabelled(
    lambda t, label: (t.set_column(t.column_names.index("lr"), "lr", t["lr"].cast("string")), label)
)
nameless = relabelled(
    lambda t, label: (t.set_column(0, "cell_id", pa.nulls(len(t), pa.string())), label)
)
unknown = relabelled(
    lambda t, label: (
        t.set_column(t.column_names.index("outcome"), "outcome", pa.array(["gone"] * len(t))),
        label,
    )
)
pointless = relabelled(
    lambda t, label: (
        t.set_column(t.column_names.index("factors"), "factors", pa.array(["{"] * len(t))),
        label,
    )
)
DAMAGES = {
    "cut": (cut, "must be readable Parquet: "),
    "empty": (empty, "must be readable Parquet: "),
    "flip": (flip, "must be readable Parquet: "),
    "folder": (folder, "must be readable Parquet: "),
    "foreign": (foreign, "must be a file that hdsens wrote"),
    "swap": (swap, "must hold the cells that it is named after"),
    "without": (without, "must have a column lr of double"),
    "twice": (twice, "must have each column once"),
    "retyped": (retyped, "must have a column lr of double"),
    "nameless": (nameless, "must have a cell_id in each row"),
}
OF_CELLS = {
    "unknown": (unknown, "must hold outcomes completed or diverged only"),
    "pointless": (pointless, "must hold the factors of each cell as JSON"),
}
CASES = [("cells", d) for d in (*DAMAGES, *OF_CELLS)] + [("traces", d) for d in DAMAGES]


@pytest.mark.parametrize(("kind", "damage"), CASES)
def test_readers_name_a_damaged_part_and_a_run_trains_its_cells_again(full, small, kind, damage):
    do, rule = {**DAMAGES, **OF_CELLS}[damage]
    part = parts(full, kind)[0]
    do(part)
    message = f"file {str(part)!r} {rule}"
    for read in (read_results, lambda f: read_cells(f) if kind == "cells" else read_traces(f)):
        with pytest.raises(InputError) as caught:
            read(full.folder)
        assert str(caught.value).startswith(message)
        assert str(caught.value).endswith(REMEDY)
        assert str(caught.value).isprintable()
    found = full.damage()
    assert [str(one.error)[: len(message)] for one in found] == [message]
    mend(full)
    assert part.with_name(part.name + ".damaged").exists()
    assert not full.damage()
    # The other pack keeps its results, and this one is missing until it has some.
    assert full.status(cells_of(small)).missing == 9
    full.append(Study.from_dict(small), pack(*map(record, missing(full, small))))
    assert full.status(cells_of(small)).whole
    assert len(read_traces(full.folder)) == 36


@pytest.mark.parametrize("kind", ["cells", "traces", "failed"])
def test_a_run_sets_a_damaged_part_aside_says_so_and_trains_its_cells(full, small, kind, caplog):
    if kind == "failed":
        full.append(Study.from_dict(small), pack(failure(cells_of(small)[0], "x")))
    part = parts(full, kind)[0]
    cut(part)
    content = part.read_bytes()
    with caplog.at_level(logging.WARNING):
        assert run(Study.from_dict(small), full.folder, executor="inline").status.whole
    assert f"file {str(part)!r} must be readable Parquet: " in caplog.text
    assert f"set aside as parts/{part.name}.damaged" in caplog.text
    assert part.with_name(part.name + ".damaged").read_bytes() == content
    cells = read_cells(full.folder)
    assert len(cells) == 18
    made_up = (cells["train_loss"] == 1.0).sum()  # what was not trained again
    assert made_up == (18 if kind == "failed" else 9)


def test_fewer_rows_than_the_name_says_is_seen_by_a_check(full):
    part = parts(full, "cells")[0]
    fewer(part)
    (found,) = full.damage()
    assert "must hold the cells that it is named after" in str(found.error)


def test_traces_of_other_cells_under_the_right_label_are_seen_by_a_check(full):
    one, other = parts(full, "traces")
    label = pq.read_schema(one).metadata
    pq.write_table(pq.read_table(other).replace_schema_metadata(label), one)
    (found,) = full.damage()
    assert str(found.error).startswith(f"file {str(one)!r} must hold the cells that it is named")


def test_lost_traces_are_noticed_everywhere(full, small):
    part = parts(full, "traces")[0]
    part.unlink()
    message = f"file {str(part)!r} must be there, because its cells are{REMEDY}"
    for read in (read_traces, read_results):
        with pytest.raises(InputError) as caught:
            read(full.folder)
        assert str(caught.value) == message
    assert full.status(cells_of(small)).missing == 9
    (found,) = full.damage()
    assert (str(found.error), len(found.cells)) == (message, 9)
    mend(full)
    full.append(Study.from_dict(small), pack(*map(record, missing(full, small))))
    assert set(read_traces(full.folder)["cell_id"]) == {c.cell_id for c in cells_of(small)}


def test_traces_that_nothing_commits_are_read_by_nobody(full, small):
    study, cells = Study.from_dict(small), cells_of(small)
    full.append(study, pack(record(cells[0], loss=9.0)))
    parts_of_it = [p for p in parts(full, "cells") if pq.read_metadata(p).num_rows == 1]
    parts_of_it[0].unlink()
    assert not full.damage()
    traces = read_traces(full.folder)
    assert not (traces["train_loss"] == 9.0).any()
    assert len(traces) == 36


def test_a_trace_is_of_the_part_whose_row_counts(full, small):
    study, cells = Study.from_dict(small), cells_of(small)
    full.append(study, pack(record(cells[0], loss=9.0)))
    assert (read_cells(full.folder)["train_loss"] == 1.0).all()
    assert not (read_traces(full.folder)["train_loss"] == 9.0).any()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("parts/cells-1.parquet", "cells-, traces- or failed- and 32 hex digits"),
        ("parts/mine.parquet", "cells-, traces- or failed- and 32 hex digits"),
        (f"parts/cells-{'g' * 32}.parquet", "cells-, traces- or failed- and 32 hex digits"),
        (f"plan/1-{'a' * 32}.parquet", "at least 8 digits, - and 32 hex digits"),
    ],
)
def test_a_file_that_is_no_part_is_named_and_set_aside(full, name, rule):
    foreign(full.folder / name)
    (found,) = full.damage()
    assert str(found.error).startswith(f"file '{full.folder / name}' must be named {rule}")
    assert len(read_cells(full.folder)) == 18  # nothing reads it
    assert full.planned() == frozenset()
    mend(full)
    assert (full.folder / f"{name}.damaged").exists()


newer = relabelled(lambda table, label: (table, label | {"schema_version": 99}))


@pytest.mark.parametrize("name", ["cells", "traces", "plan", "study"])
def test_files_of_another_version_are_refused_and_not_touched(full, small, name):
    if name == "study":
        path = full.folder / "study.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    else:
        if name == "plan":
            full.plan(cells_of(small), pack_cells(cells_of(small), Study.from_dict(small)))
        path = plan_file(full) if name == "plan" else parts(full, name)[0]
        newer(path)
    (found,) = full.damage()
    message = str(found.error)
    assert message.endswith(
        "must have schema version 1 (got 99); read it with the hdsens that wrote it"
    )
    before = {p: p.stat().st_mtime_ns for p in full.folder.rglob("*")}
    with pytest.raises(InputError) as caught:
        run(Study.from_dict(small), full.folder, executor="inline")
    assert str(caught.value) == message
    assert {p: p.stat().st_mtime_ns for p in full.folder.rglob("*")} == before


def plan_file(store):
    (path,) = (store.folder / "plan").iterdir()
    return path


PLANS = {
    "cut": cut,
    "empty": empty,
    "foreign": foreign,
    "columns": relabelled(lambda table, label: (table.rename_columns(["a", "b", "c"]), label)),
    "paths": relabelled(
        lambda t, label: (t.set_column(2, "path", pa.array(["sideways"] * len(t))), label)
    ),
    "part": relabelled(lambda table, label: (table, label | {"part": "cells"})),
    "key": relabelled(lambda table, label: (table, label | {"key": "0" * 32})),
    "twice": relabelled(lambda table, label: (pa.concat_tables([table, table]), label)),
}


@pytest.mark.parametrize("damage", PLANS)
def test_a_damaged_plan_is_named_and_set_aside(full, small, damage):
    study, cells = Study.from_dict(small), cells_of(small)
    full.plan(cells, pack_cells(cells, study))
    path = plan_file(full)
    PLANS[damage](path)
    (found,) = full.damage()
    assert found.name == f"plan/{path.name}"
    assert str(found.error).startswith(f"file {str(path)!r} must ")
    assert len(read_cells(full.folder)) == 18  # readers need no plan
    mend(full)
    assert path.with_name(f"{path.name}.damaged").exists()
    assert full.planned() == frozenset()


@pytest.mark.parametrize("what", ["part", "plan"])
def test_a_run_sets_damage_aside_where_the_study_is_lost_too(full, small, what):
    """As after a kill between setting study.json aside and writing it anew."""
    full.plan(cells_of(small), pack_cells(cells_of(small), Study.from_dict(small)))
    path = plan_file(full) if what == "plan" else parts(full, "cells")[0]
    cut(path)
    (full.folder / "study.json").unlink()
    assert run(Study.from_dict(small), full.folder, executor="inline").status.whole
    assert path.with_name(f"{path.name}.damaged").exists()


DEEP = "[" * 100_000 + "]" * 100_000
DOCUMENTS = [
    (b"", "must be readable JSON: "),
    (b"{", "must be readable JSON: "),
    (b"\xff\xfe\x00", "must be readable JSON: "),
    (DEEP.encode(), "must be readable JSON: it is nested too deeply"),
    (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "must be one JSON object, at most 40 tables deep"),
    (b"[]", "must be one JSON object"),
    (b"null", "must be one JSON object"),
    (b'{"a": ' + b"9" * 5000 + b"}", "must be readable JSON: "),
    (None, "must be readable JSON: "),
]
STUDIES = [
    (b"{}", "must hold schema_version, train_size and study"),
    (b'{"schema_version": 1}', "must hold schema_version, train_size and study"),
    (b'{"schema_version": 1, "train_size": "x", "study": {}}', "must have a train_size from 1"),
    (b'{"schema_version": 1, "train_size": true, "study": {}}', "must have a train_size from 1"),
    (b'{"schema_version": 1, "train_size": 1e999, "study": {}}', "must have a train_size from 1"),
    (b'{"schema_version": 1, "train_size": -1, "study": {}}', "must have a train_size from 1"),
    (b'{"schema_version": 1, "train_size": 9, "study": 3}', "must hold a valid study: "),
    (
        b'{"schema_version": 1, "train_size": 9, "study": {}}',
        "must hold a valid study: study needs",
    ),
]


@pytest.mark.parametrize(("content", "rule"), DOCUMENTS + STUDIES)
def test_a_damaged_study_is_named_and_a_run_writes_it_anew(full, small, content, rule):
    path = full.folder / "study.json"
    folder(path) if content is None else path.write_bytes(content)
    for command in ("status", "report", "verdict", "compact"):
        done = CliRunner().invoke(cli, [command, str(full.folder)])
        assert isinstance(done.exception, InputError)
        assert str(done.exception).startswith(f"file {str(path)!r} {rule}")
        assert len(str(done.exception)) < 400
    mend(full)
    assert (full.folder / "study.json.damaged").exists()
    full.begin(Study.from_dict(small), N_TRAIN)
    assert len(read_cells(full.folder)) == 18


@pytest.mark.parametrize(("content", "rule"), [*DOCUMENTS, (b"{}", "must be the record of a run")])
def test_a_damaged_record_of_a_run_is_named_and_set_aside(full, content, rule):
    path = full.folder / "runs" / "20260101T000000-a.json"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_results(full.folder)
    assert str(caught.value).startswith(f"file {str(path)!r} {rule}")
    assert [one.name for one in full.damage()] == ["runs/20260101T000000-a.json"]
    mend(full)
    assert path.with_name(path.name + ".damaged").exists()
    assert read_results(full.folder).runs == ()


def test_status_check_says_what_is_damaged_and_what_a_run_would_train(full, small):
    clean = CliRunner().invoke(cli, ["status", "--check", str(full.folder)], standalone_mode=False)
    assert (clean.return_value, "damaged" in clean.output) == (0, False)
    flip(parts(full, "traces")[0])
    cut(parts(full, "cells")[1])
    done = CliRunner().invoke(cli, ["status", "--check", str(full.folder)], standalone_mode=False)
    assert done.return_value == 1, done.output
    lines = done.output.splitlines()
    assert lines[2:6] == [
        f"completed{0:>9}",
        f"diverged {0:>9}",
        f"failed   {0:>9}",
        f"missing  {18:>9}",
    ]
    assert [line.split("'")[1] for line in lines if line.startswith("damaged: ")] == [
        str(parts(full, "traces")[0]), str(parts(full, "cells")[1]),
    ]  # fmt: skip
    assert lines[-1].startswith(
        "a run would train 18 cells: 18 known to have been in damaged files"
    )


def test_a_second_damaged_file_of_one_name_hides_no_first(full, small):
    for _ in range(3):
        cut(parts(full, "cells")[0])
        mend(full)
        full.append(Study.from_dict(small), pack(*map(record, missing(full, small))))
    assert len(list((full.folder / "parts").glob("*.damaged*"))) == 3


def test_what_is_no_store_is_said_so(tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            InputError, match=r"^results '.*' must be a folder that `hdsens run` wr"
        ):
            read_cells(place)


@pytest.mark.parametrize("where", ["a\0b", "x" * 5000])
@pytest.mark.parametrize("act", [
    read_cells,
    lambda out: run(Study.from_dict(SMALL), out, executor="inline"),
], ids=["read", "run"])  # fmt: skip
def test_a_path_that_cannot_be_is_bad_input(tmp_path, where, act):
    with pytest.raises(InputError, match=r"results '.*' cannot be read: .*; check the path") as e:
        act(tmp_path / where)
    assert str(e.value).isprintable()


def test_a_path_need_not_be_unicode(tmp_path, small):
    done = run(Study.from_dict(small), tmp_path / "\udcff", executor="inline")
    assert done.status.whole
    assert len(read_cells(done.folder)) == 18
