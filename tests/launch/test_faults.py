"""Faults around a run: full and read-only disks, rivals, signals, a cluster that dies."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from forked import Process, environment
from test_inline import MEASURED, train
from test_ray import write_toml
from test_resume import wait_for
from tests_support import change

from hdsens import Study, read_cells
from hdsens.errors import StoppedError
from hdsens.launch import work
from hdsens.store import Store
from hdsens.store.plan import read_plan
from hdsens.study.packs import hash_of_ids


@pytest.fixture
def mount():
    """Mounts a file system for the test; `mount(folder, *options)`."""
    mounted = []

    def make(folder, *options):
        folder.mkdir(exist_ok=True)
        command = ["mount", *options, str(folder)]
        if shutil.which("mount") is None or os.geteuid() != 0:
            pytest.skip("needs root to mount a file system of its own")
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this machine lets nobody mount a file system")
        mounted.append(folder)

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def temporary_files(folder):
    return [path for path in folder.rglob(".*") if path.is_file()]


def start(tmp_path, *arguments, **more):
    plan = ("--out", "out", "--pack-size", "3", "--path", "plain")
    return Process("run", "small.toml", *plan, *arguments, cwd=tmp_path, env=environment(**more))


def cells_parts(tmp_path):
    return list((tmp_path / "out" / "parts").glob("cells-*"))


@pytest.mark.parametrize("little", ["size=80k", "nr_inodes=20"])
def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(
    small, tmp_path, mount, monkeypatch, little
):
    mount(tmp_path / "disk", "-t", "tmpfs", "-o", little, "tmpfs")
    out = tmp_path / "disk" / "out"
    monkeypatch.setattr(work, "PAUSES_S", (0.0, 0.0))
    message = f"results '{out}' cannot be written: No space left on device; make room or set it "
    with pytest.raises(StoppedError, match=f"^{message}"):
        train(small, out, pack_size=2, path="plain")
    assert not temporary_files(out)
    kept = len(read_cells(out))
    assert 0 < kept < 18
    more = "remount,size=8m,nr_inodes=900"
    subprocess.run(["mount", "-o", more, str(tmp_path / "disk")], check=True)
    before = read_cells(out).set_index("cell_id")["finished_at"]
    assert train(small, out).status.whole
    after = read_cells(out).set_index("cell_id")["finished_at"]
    assert after[before.index].equals(before)


def test_a_disk_that_comes_back_loses_nothing(small, tmp_path, monkeypatch):
    """The write is tried again, not the training."""
    monkeypatch.setattr(work, "PAUSES_S", (0.0, 0.0))
    failed = []

    def append(self, study, pack, source=None, append=Store.append):
        if len(failed) < 2:
            failed.append(pack)
            raise OSError(28, "No space left on device")
        append(self, study, pack, source)

    monkeypatch.setattr(Store, "append", append)
    assert train(small, tmp_path, pack_size=100, path="plain").status.whole
    assert [len(pack.cells) for pack in failed] == [9, 9]


def test_a_folder_that_is_read_only_ends_with_one_line(small, tmp_path, mount):
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    train(change(small, ["seeds"], 1), tmp_path / "out")
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "out").rglob("*"))
    mount(tmp_path / "out", "--bind", str(tmp_path / "out"))
    remount = ["mount", "-o", "remount,ro,bind", str(tmp_path / "out")]
    subprocess.run(remount, check=True)
    run = start(tmp_path, "--executor", "inline")
    _, err = run.communicate()
    assert run.returncode in (1, 2)
    assert err.splitlines()[-1].startswith(
        "hdsens: results 'out' cannot be written: Read-only file system; "
    )
    assert "Traceback" not in err
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "out").rglob("*")) == before


def test_a_folder_that_is_moved_away_stops_the_run_and_goes_on_where_it_is(small, tmp_path):
    small["task"]["model"] = "models_for_tests:waits"
    small["seeds"] = 1
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    run = start(tmp_path, "--executor", "inline")
    wait_for(lambda: cells_parts(tmp_path), run)
    (tmp_path / "out").rename(tmp_path / "moved")
    _, err = run.communicate()
    assert run.returncode == 1
    assert err.splitlines()[-1].startswith(
        "hdsens: results 'out' cannot be written: No such file or directory; "
    )
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    before = read_cells(tmp_path / "moved").set_index("cell_id")["finished_at"]
    assert 0 < len(before) < 9
    assert train(small, tmp_path / "moved").status.whole
    after = read_cells(tmp_path / "moved").set_index("cell_id")["finished_at"]
    assert after[before.index].equals(before)


def test_two_runs_at_once_neither_corrupt_nor_double_anything(small, tmp_path):
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    runs = [start(tmp_path, "--executor", "inline") for _ in range(2)]
    errors = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    store = Store(tmp_path / "out")
    assert not store.damage()
    cells = read_cells(tmp_path / "out")
    assert len(cells) == cells["cell_id"].nunique() == 18
    planned = [i for ids, _ in read_plan(store.place) for i in ids]
    assert sorted(planned) == sorted(cells["cell_id"])
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2
    train(small, tmp_path / "alone", pack_size=3, path="plain")
    pd.testing.assert_frame_equal(
        cells.drop(columns=MEASURED), read_cells(tmp_path / "alone").drop(columns=MEASURED)
    )


def test_what_a_rival_has_committed_is_not_trained_again(small, tmp_path, monkeypatch):
    train(small, tmp_path, pack_size=100, path="plain")
    before = read_cells(tmp_path)
    ids = set(before["cell_id"])
    # As seen by a run that looked before the rival wrote.
    monkeypatch.setattr(Store, "outcomes", lambda self, without=(): {})
    train(small, tmp_path)
    monkeypatch.undo()
    after = read_cells(tmp_path)
    assert set(after["cell_id"]) == ids
    assert after["finished_at"].equals(before["finished_at"])


def test_a_pack_whose_traces_are_lost_is_trained_again(small, tmp_path):
    train(small, tmp_path)
    for part in (tmp_path / "parts").glob("traces-*"):
        part.unlink()
    cells = Store(tmp_path).expected()
    assert not Store(tmp_path).committed(c for c in cells if c.seed == 0)
    assert train(small, tmp_path, path="plain").status.whole
    assert Store(tmp_path).committed(c for c in cells if c.seed == 0)


def test_leftovers_of_a_killed_writer_are_ignored_and_swept_when_old(small, tmp_path):
    train(small, tmp_path)
    key = hash_of_ids(["x"])
    old, new = (tmp_path / "parts" / f".cells-{key}.parquet.{'0123456789abcdef'[i] * 32}"
                for i in (1, 2))  # fmt: skip
    top = tmp_path / f".study.json.{'a' * 32}"
    for file in (old, new, top):
        file.write_bytes(b"half")
    for file in (old, top):
        os.utime(file, (0, 0))
    assert len(read_cells(tmp_path)) == 18
    assert not Store(tmp_path).damage()
    train(small, tmp_path)
    assert temporary_files(tmp_path) == [new]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_answered_and_keeps_what_is_finished(small, tmp_path, number):
    small["task"]["model"] = "models_for_tests:waits_in_the_second_pack"
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    run = start(tmp_path, "--executor", "inline")
    begun = tmp_path / "begun"
    # The first cell of the pack has ended then, and the second has only a model.
    wait_for(lambda: begun.exists() and begun.stat().st_size == 2, run)
    run.send_signal(number)
    lines = []
    while not lines or "stopping" not in lines[-1]:
        lines.append(run.stderr.readline())
    (tmp_path / "go").touch()
    lines += run.communicate()[1].splitlines(keepends=True)
    assert run.returncode == 1
    assert [line.strip() for line in lines if line.startswith("hdsens: ")] == [
        "hdsens: stopping: what is finished is kept; once more ends at once",
        "hdsens: interrupted; the same command again goes on from here",
    ]
    assert len(read_cells(tmp_path / "out")) % 3 != 0  # a part of a pack is kept too
    assert not temporary_files(tmp_path / "out")


@pytest.mark.ray
def test_a_second_interrupt_ends_at_once(small, tmp_path):
    small["task"]["model"] = "models_for_tests:waits_long"
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    run = start(tmp_path)
    wait_for(lambda: (tmp_path / "waiting").exists(), run)
    run.send_signal(signal.SIGINT)
    while "stopping" not in run.stderr.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, err = run.communicate()
    assert run.returncode == 1
    assert err.splitlines()[-1] == "hdsens: interrupted; the same command again goes on from here"


@pytest.mark.ray
def test_a_raylet_that_is_killed_ends_the_run_and_the_next_one_goes_on(small, tmp_path):
    small["task"]["model"] = "models_for_tests:waits"
    small["seeds"] = 9
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    run = start(tmp_path)
    wait_for(lambda: cells_parts(tmp_path), run)
    (raylet,) = [p for p, command in children(run.pid) if Path(command).name == "raylet"]
    os.kill(raylet, signal.SIGKILL)
    _, err = run.communicate()
    assert run.returncode == 1, err
    # A last refresh of the progress bar may come after the line.
    assert any(line.startswith("hdsens: the Ray cluster is gone") for line in err.splitlines())
    assert "Traceback" not in err
    small["task"]["model"] = "models_for_tests:waits"
    store = Store(tmp_path / "out")
    assert 0 < store.status(store.expected()).missing < 81
    kept = read_cells(tmp_path / "out")
    study = change(small, ["seeds"], 1)
    assert train(study, tmp_path / "out").status.whole
    again = read_cells(tmp_path / "out", all=True).set_index("cell_id")["finished_at"]
    first = kept.set_index("cell_id")["finished_at"]
    assert again[first.index].equals(first)
    assert Study.from_dict(study) == store.study()[0]


def children(pid):
    """Processes under one, with the program that each runs."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text().split("\0")[0]
            except OSError:  # it has ended
                continue
            if parent == pid:
                found += [(int(folder.name), command), *children(int(folder.name))]
    return found
