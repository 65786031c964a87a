"""A store that a stranger made: nothing of it runs, nothing leaves its folder, nothing hangs."""

from __future__ import annotations

import json
import pickletools
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from store_cases import N_TRAIN, cells_of, pack, record
from tests_support import change

from hdsens import InputError, Study, read_cells, read_traces, run
from hdsens.cli import cli
from hdsens.records import CellRecord, failure
from hdsens.store import Store, read_results

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that leaves a marker when it is imported."""
    (tmp_path / "stranger.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'marker')!r}).touch()\n"
        "def factory(*a, **k): raise RuntimeError('ran')\n"
        "class Optimizer: pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "marker"
    sys.modules.pop("stranger", None)


def test_reading_a_strangers_store_imports_nothing_that_it_names(small, tmp_path, trap):
    small["task"] |= {"model": "stranger:factory", "data": "stranger:factory"}
    for arm in small["arms"]:
        arm["optimizer"] = "stranger:Optimizer"
    study, cells = Study.from_dict(small), cells_of(small)
    store = Store(tmp_path / "theirs")
    store.begin(study, N_TRAIN)
    for members in (cells[:9], cells[9:]):
        store.append(study, pack(*(record(c, initial_loss=2.3) for c in members)))
    theirs = str(store.folder)
    for arguments in (
        ["status", theirs], ["status", theirs, "--check"], ["report", theirs], ["verdict", theirs],
        ["diff", theirs, theirs], ["compact", theirs],
    ):  # fmt: skip
        done = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert done.exception is None, (arguments, done.exception)
    assert len(read_cells(theirs, all=True)) == 18
    assert len(read_traces(theirs)) == 36
    assert not trap.exists()
    with pytest.raises(InputError):  # the trap works: a study file is a program
        run(study, tmp_path / "mine", executor="inline")
    assert trap.exists()


def test_no_file_of_a_store_is_a_pickle(small, tmp_path):
    run(Study.from_dict(small), tmp_path, executor="inline")
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in found} == {".json", ".parquet", ".html"}
    for path in found:
        content = path.read_bytes()
        if path.suffix == ".parquet":
            assert content.startswith(b"PAR1")
            assert b"pickle" not in content
            assert set(pq.read_schema(path).metadata) == {b"hdsens"}
            assert all(str(t) in ("string", "int64", "double", "timestamp[us, tz=UTC]")
                       for t in pq.read_schema(path).types)  # fmt: skip
        elif path.suffix == ".json":
            json.loads(content)
        with pytest.raises(ValueError, match=r"."):
            list(pickletools.genops(content))


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "..", ".", "a/b", "a\\b", "a\0b", "C:x", "~root", "-x", ".x", "x" * 256,
     "é" * 128, "", " "],
)  # fmt: skip
def test_a_name_cannot_leave_the_results_folder(small, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^study '.*: name must "):
        run(Study.from_dict(small | {"name": name}), executor="inline")
    assert not list(tmp_path.iterdir())


def test_names_that_are_paths_stay_in_the_folder_of_figures_and_tables(small, tmp_path):
    small["arms"][0]["name"] = small["arms"][1]["baseline"] = "../../arm/" + EVIL
    small["task"]["steps"] = 2
    out = tmp_path / "a" / "b"
    out.mkdir(parents=True)
    run(Study.from_dict(small), out / "out", executor="inline")
    done = CliRunner().invoke(
        cli,
        ["report", str(out / "out"), "--figures", str(out / "f"), "--tables", str(out / "t")],
        standalone_mode=False,
    )
    assert done.exception is None, done.exception
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.parent in (out / "f", out / "t") or out / "out" in path.parents
               for path in written)  # fmt: skip
    assert len(list((out / "f").iterdir())) > 3


@pytest.mark.page
def test_html_in_names_and_errors_is_text_in_the_page(small, tmp_path):
    small["arms"][0]["name"] = small["arms"][1]["baseline"] = EVIL
    small["task"] |= {"model": EVIL, "data": EVIL + "'\""}
    small["name"] = "<b>bold<i>"
    study, cells = Study.from_dict(small), cells_of(small)
    store = Store(tmp_path)
    store.begin(study, N_TRAIN)
    diverged = CellRecord(cells[1], "diverged", diverged_step=1, steps_run=1, initial_loss=2.3)
    results = [record(c) for c in cells[2:]]
    store.append(study, pack(failure(cells[0], f"{EVIL}</td><img src=x onerror=alert(1)>")))
    store.append(study, pack(diverged, *results))
    store.write_run({"run_id": EVIL.replace("/", ""), EVIL: EVIL, "nested": {EVIL: [EVIL]}})
    done = CliRunner().invoke(cli, ["report", str(tmp_path)], standalone_mode=False)
    assert done.exception is None, done.exception
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "<b>bold" not in page


HUGE = [
    (["seeds"], 10**9),
    (["seeds"], list(range(1_100_000))),
    (["arms", 0, "lr"], list(range(1_000_000))),
    (["arms", 0, "lr"], {"log10": [-300, 300], "per_decade": 1000}),
    (["task", "steps"], 10**40),
    (["task", "epochs"], 10**40),
    (["trace", "points"], 10**18),
    (["arms", 0, "settings"], {"a": 10**400}),
    (["arms", 0, "factors"], {f"f{i}": [0.0, 1.0] for i in range(64)}),
    (["arms"], [{"name": f"a{i}", "optimizer": "SGD", "lr": 0.0} for i in range(100_000)]),
    (["arms", 1, "name"], "x" * 1_000_000),
    (["task", "model"], "x" * 1_000_000),
    (["stop", "when"], "x" * 1_000_000),
]


@pytest.mark.parametrize(
    ("path", "value"), HUGE, ids=[f"{p[-1]}-{i}" for i, (p, _) in enumerate(HUGE)]
)
def test_a_hostile_study_is_refused_at_once_by_every_reader(store, path, value):
    content = json.loads((store.folder / "study.json").read_text())
    content["study"] = change(content["study"], path, value)
    (store.folder / "study.json").write_text(json.dumps(content))
    for read in (read_cells, read_traces, read_results):
        with pytest.raises(InputError) as caught:
            read(store.folder)
        message = str(caught.value)
        assert message.startswith(f"file '{store.folder / 'study.json'}' must hold a valid study: ")
        assert message.isprintable()
        assert len(message) < 700


def test_a_study_json_of_a_gigabyte_is_not_read(store):
    with (store.folder / "study.json").open("r+b") as file:
        file.truncate(10**9)  # sparse: it takes no room
    with pytest.raises(InputError, match="must have at most 64000000 bytes"):
        read_cells(store.folder)


def test_links_are_not_followed_out_of_the_store(store, small, tmp_path):
    """Setting aside renames the link, not what it points to."""
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(b"mine")
    link = store.folder / "parts" / ("cells-" + "0" * 32 + ".parquet")
    link.symlink_to(outside)
    for damage in store.damage():
        store.set_aside(damage)
    assert outside.read_bytes() == b"mine"
    assert Path(f"{link}.damaged").is_symlink()
    assert not store.damage()


@pytest.mark.parametrize("name", ["report.html", "study.json", "plan.parquet"])
def test_a_run_writes_through_no_link(small, tmp_path, name):
    """What a link in a store points to is neither written nor moved."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    store = tmp_path / "out"
    run(Study.from_dict(small), store, executor="inline")
    (store / name).unlink(missing_ok=True)
    (store / name).symlink_to(outside)
    small["seeds"] = 3
    assert run(Study.from_dict(small), store, executor="inline").status.whole
    assert outside.read_text() == "mine"
    assert outside.is_file()
    assert not (store / name).is_symlink()
