"""Compaction changes nothing that readers see, wherever it stops and whoever is beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from click.testing import CliRunner
from store_cases import cells_of, pack, record

from hdsens import InputError, Study, read_cells, read_traces, run
from hdsens.cli import cli
from hdsens.launch import driver
from hdsens.records import failure
from hdsens.store import Store, compact, place


@pytest.fixture
def many(store, small, monkeypatch):
    """Parts of one to three cells each, with duplicates and failures, and small limits."""
    monkeypatch.setattr(compact, "MAX_CELLS", 7)
    study, cells = Study.from_dict(small), cells_of(small)
    for first in (0, 4, 8, 12):
        for members in (cells[first : first + 3], cells[first + 3 : first + 4]):
            store.append(study, pack(*(record(c, loss=0.1 * cells.index(c)) for c in members)))
    store.append(study, pack(record(cells[0], loss=9.0), record(cells[16], loss=1.6)))
    store.append(study, pack(record(cells[3], loss=9.0), record(cells[4], loss=9.0)))
    store.append(study, pack(failure(cells[5], "late")))
    store.append(study, pack(failure(cells[17], "broken")))
    store.append(study, pack(failure(cells[17], "broken"), failure(cells[6], "late")))
    return store


def seen(store):
    return read_cells(store.folder), read_traces(store.folder)


def same(one, other):
    for left, right in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(left, right, check_exact=True)


def files(store):
    return sorted(path.name for path in (store.folder / "parts").iterdir())


def test_readers_see_the_same_of_fewer_parts(many):
    before, n = seen(many), len(files(many))
    done = many.compact()
    same(seen(many), before)
    assert (done.before, done.after) == (n, len(files(many)))
    assert done.after < 2 * 5 + 1  # 21 rows in groups of 4 to 7, and the failure that is left
    assert not many.damage()
    again = files(many)
    assert many.compact().after == done.after
    assert files(many) == again


def test_a_part_that_is_large_enough_is_left_alone(store, small, monkeypatch):
    monkeypatch.setattr(compact, "MAX_CELLS", 9)
    study, cells = Study.from_dict(small), cells_of(small)
    for members in (cells[:9], cells[9:]):
        store.append(study, pack(*map(record, members)))
    stamps = {p: p.stat().st_mtime_ns for p in (store.folder / "parts").iterdir()}
    store.compact()
    assert {p: p.stat().st_mtime_ns for p in (store.folder / "parts").iterdir()} == stamps


@pytest.fixture
def at_operation(monkeypatch):
    """Do something before or after the n-th change of a file, once."""

    def arrange(n, when, act):
        count = iter(range(10_000))

        def wrap(operation):
            def wrapped(self, *arguments):
                now = next(count) == n
                if now and when == "before":
                    act()
                operation(self, *arguments)
                if now and when == "after":
                    act()

            return wrapped

        for name in ("write", "delete", "move"):
            monkeypatch.setattr(place.Folder, name, wrap(ORIGINAL[name]))
        return count

    return arrange


ORIGINAL = {name: getattr(place.Folder, name) for name in ("write", "delete", "move")}


class Crash(BaseException):
    """As sudden as a kill."""


def crash():
    raise Crash


def operations_of(many, at_operation):
    """How many changes a whole compaction makes; measured on a copy by the caller."""
    count = at_operation(-1, "before", crash)
    many.compact()
    return next(count)


def test_a_crash_at_any_file_operation_loses_and_doubles_nothing(many, at_operation):
    before, content = seen(many), snapshot(many)
    n_operations = operations_of(many, at_operation)
    assert n_operations > 20
    for n in range(n_operations):
        restore(many, content)
        at_operation(n, "before", crash)
        with pytest.raises(Crash):
            many.compact()
        at_operation(-1, "before", crash)
        same(seen(many), before)
        assert not many.damage()
        many.compact()
        same(seen(many), before)
        assert len([name for name in files(many) if name.startswith("cells-")]) <= 4, n


def snapshot(store):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in parts(store)}


def parts(store):
    return list((store.folder / "parts").iterdir())


def restore(store, content):
    for path in parts(store):
        path.unlink()
    for name, (data, _) in content.items():
        (store.folder / "parts" / name).write_bytes(data)


def test_another_compaction_at_any_moment_corrupts_nothing(many, at_operation):
    before, content = seen(many), snapshot(many)
    for n in range(0, operations_of(many, at_operation), 3):
        restore(many, content)

        def other():
            Store(many.folder).compact()
            same(seen(many), before)

        at_operation(n, "before", other)
        many.compact()
        same(seen(many), before)
        assert not many.damage()


def test_a_run_that_appends_at_any_moment_loses_nothing(many, small, at_operation):
    study, cells = Study.from_dict(small), cells_of(small)
    before, content = seen(many), snapshot(many)
    for n in range(0, operations_of(many, at_operation), 3):
        restore(many, content)

        def append():
            many.append(study, pack(record(cells[0], loss=7.0)))  # the name of a part being merged
            many.append(study, pack(record(cells[17], loss=1.7)))

        at_operation(n, "after", append)
        many.compact()
        now = read_cells(many.folder)
        assert now["cell_id"].tolist() == [cell.cell_id for cell in cells]
        pd.testing.assert_frame_equal(now[1:17], before[0][1:17], check_exact=True)
        assert now["outcome"].tolist() == ["completed"] * 18
        assert len(read_traces(many.folder)) == 36


KILLED = """
import os, signal, sys
from hdsens.store import Store, compact, place
compact.MAX_CELLS = 7
left = int(sys.argv[2])
for name in ("write", "delete"):
    def wrapped(self, *arguments, operation=getattr(place.Folder, name)):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        operation(self, *arguments)
    setattr(place.Folder, name, wrapped)
Store(sys.argv[1]).compact()
"""


@pytest.mark.parametrize("after", [1, 2, 9])
def test_a_kill_loses_and_doubles_nothing(many, after):
    before = seen(many)
    command = [sys.executable, "-c", KILLED, str(many.folder), str(after)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    same(seen(many), before)
    many.compact()
    same(seen(many), before)


def test_a_damaged_part_stops_compaction_and_nothing_of_it_is_deleted(many):
    path = next(p for p in parts(many) if p.name.startswith("traces-"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=f"file '{path}' must be readable Parquet"):
        many.compact()
    assert path.exists()
    assert path.with_name(path.name.replace("traces", "cells")).exists()


def test_a_leftover_stays_while_the_part_that_replaces_it_is_damaged(many, at_operation):
    content = snapshot(many)
    at_operation(2, "before", crash)  # both parts of the first group are written
    with pytest.raises(Crash):
        many.compact()
    at_operation(-1, "before", crash)
    written = [p for p in parts(many) if p.name not in content]
    assert len(written) == 2
    traces = next(p for p in written if p.name.startswith("traces-"))
    traces.write_bytes(traces.read_bytes()[:-9])
    with pytest.raises(InputError, match="must be readable Parquet"):
        many.compact()
    assert set(content) <= set(files(many))


def test_a_leftover_goes_once_the_part_that_replaces_it_has_been_read(
    many, at_operation, monkeypatch
):
    before, content = seen(many), snapshot(many)
    at_operation(2, "before", crash)  # both parts of the first group are written
    with pytest.raises(Crash):
        many.compact()
    at_operation(-1, "before", crash)
    monkeypatch.setattr(compact, "MAX_CELLS", 1)  # nothing more to merge
    n = len(files(many))
    many.compact()
    assert len(files(many)) < n - 2
    assert len([name for name in files(many) if name not in content and "failed" not in name]) == 2
    same(seen(many), before)


def test_what_killed_writers_left_is_removed_after_a_day(many, small):
    study, cells = Study.from_dict(small), cells_of(small)
    before = files(many)
    many.append(study, pack(record(cells[16], loss=4.0)))
    many.append(study, pack(record(cells[14], loss=4.0)))
    added = [name for name in files(many) if name not in before]
    uncommitted = [many.folder / "parts" / n for n in added if n.startswith("traces-")]
    for path in uncommitted:
        path.with_name(path.name.replace("traces", "cells")).unlink()
    half = [many.folder / "parts" / f".cells-x.parquet.{age}" for age in ("old", "new")]
    for path in half:
        path.write_bytes(b"half")
    for path in (uncommitted[0], half[0]):
        os.utime(path, (time.time() - 90_000,) * 2)
    many.compact()
    assert [path.exists() for path in (*uncommitted, *half)] == [False, True, False, True]


def test_the_command_says_what_it_did(many):
    n = len(files(many))
    done = CliRunner().invoke(cli, ["compact", str(many.folder)])
    after = len(files(many))
    assert done.output.splitlines() == [f"{n} parts before, {after} after", str(many.folder)]


def test_a_run_compacts_above_some_hundred_parts(small, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "COMPACT_ABOVE", 30)
    done = run(Study.from_dict(small), tmp_path, executor="inline", pack_size=1)
    assert done.status.whole
    assert Store(tmp_path).part_count() == 2
    assert len(read_cells(tmp_path)) == 18
