from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from store_cases import N_TRAIN, cells_of, pack, record
from tests_support import change

import hdsens
from hdsens import Study, read_cells, read_traces
from hdsens.analysis import accounting
from hdsens.records import CellRecord, failure
from hdsens.store import Store, read_results
from hdsens.store.declared import declaration
from hdsens.study.packs import pack_cells

AT = "2026-01-01T00:00:"


def test_what_is_written_is_read_with_the_documented_columns(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    diverged = CellRecord(cells[1], "diverged", diverged_step=3, steps_run=3, initial_loss=2.3)
    store.append(study, pack(record(cells[0], steps_to={"low": 4}), diverged))
    frame = read_cells(store.folder)
    assert list(frame.columns) == [
        *("cell_id", "study", "task", "arm", "baseline", "optimizer", "lr", "hypergrad_lr"),
        *("seed", "role", "outcome", "error", "diverged_step", "steps", "steps_run"),
        *("initial_loss", "train_loss", "valid_loss", "valid_accuracy", "best_valid_loss"),
        *("lr_final", "lr_max", "lr_min", "wall_s", "pack_size", "device", "dtype"),
        *("torch_version", "hdsens_version", "finished_at", "initial_valid_loss"),
        *("steps_to_low", "learned"),
    ]
    first, second = frame.iloc[0], frame.iloc[1]
    assert first["cell_id"] == cells[0].cell_id
    assert (first["study"], first["task"], first["arm"]) == ("small", "logreg on digits", "sgd")
    assert (first["lr"], first["seed"], first["role"]) == (0.0, 0, "confirmatory")
    assert (first["train_loss"], first["steps_to_low"], first["wall_s"]) == (1.0, 4, 1.0)
    assert (first["pack_size"], first["hdsens_version"]) == (2, hdsens.__version__)
    assert first[["hypergrad_lr", "baseline", "error", "diverged_step"]].isna().all()
    assert (second["outcome"], second["diverged_step"]) == ("diverged", 3)
    assert second[["train_loss", "valid_loss", "steps_to_low"]].isna().all()
    assert frame.attrs["factors"] == ["lr", "hypergrad_lr"]
    assert frame.attrs["expected"] == 18
    traces = read_traces(store.folder)
    assert list(traces.columns) == [
        *("cell_id", "step", "epoch", "lr", "batch_loss"),
        *("train_loss", "valid_loss", "valid_accuracy", "lr_effective"),
    ]
    assert traces["step"].tolist() == [1, 12]
    assert traces["train_loss"].isna().tolist() == [True, False]


def test_other_factors_are_columns_of_their_own(tmp_path, small):
    small["arms"] = [
        {"name": "a", "optimizer": "Adam", "lr": 0.1,
         "factors": {"betas": [[0.9, 0.99], [0.8, 0.9]], "batch_size": [32, 64]}},
        {"name": "s", "optimizer": "SGD", "lr": 0.1, "factors": {"nesterov": [False]}},
    ]  # fmt: skip
    study, cells = Study.from_dict(small), cells_of(small)
    store = Store(tmp_path)
    store.begin(study, N_TRAIN)
    store.append(study, pack(*map(record, cells)))
    frame = read_cells(tmp_path)
    assert frame.attrs["factors"] == ["lr", "hypergrad_lr", "betas", "batch_size", "nesterov"]
    assert frame["batch_size"].tolist()[:5] == pytest.approx(
        [32, 64, 32, 64, math.nan], nan_ok=True
    )
    assert frame["betas"][2] == [0.8, 0.9]
    assert frame["nesterov"][4] is False


def test_failed_cells_are_rows_and_a_later_result_takes_their_place(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    store.append(study, pack(record(cells[0]), failure(cells[1], OSError("disk\nfull"))))
    status = store.status(cells)
    assert (status.expected, status.completed, status.failed, status.missing) == (18, 1, 1, 16)
    assert not status.whole
    assert read_cells(store.folder)["error"].tolist()[1] == "OSError: disk full"
    store.append(study, pack(record(cells[1], loss=0.25)))
    assert read_cells(store.folder)["train_loss"].tolist() == [1.0, 0.25]
    # A later failure hides no result, whichever part is read first.
    store.append(study, pack(failure(cells[0], "late"), failure(cells[1], "late")))
    assert read_cells(store.folder)["outcome"].tolist() == ["completed"] * 2


def test_of_two_results_the_earliest_counts_once(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    store.append(study, pack(record(cells[0], loss=1.0), record(cells[1])))
    store.append(study, pack(record(cells[0], loss=3.0)))
    frame = read_cells(store.folder)
    assert frame["train_loss"].tolist() == [1.0, 1.0]
    assert not read_traces(store.folder).duplicated(["cell_id", "step"]).any()


def test_the_same_pack_again_replaces_its_parts(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    for _ in range(2):
        store.append(study, pack(*map(record, cells[:3])))
    assert len(list((store.folder / "parts").iterdir())) == 2


def test_a_failed_write_leaves_nothing_behind(store, small, monkeypatch):
    study, cells = Study.from_dict(small), cells_of(small)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.append(study, pack(record(cells[0])))
    assert list((store.folder / "parts").iterdir()) == []


def test_cells_of_an_earlier_version_of_the_study_do_not_show_up(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    store.append(study, pack(*map(record, cells)))
    longer = change(small, ["task", "steps"], 24)
    store.begin(Study.from_dict(longer), N_TRAIN)
    status = store.status(cells_of(longer))
    assert (status.expected, status.completed, status.missing, status.other) == (18, 0, 18, 18)
    assert read_cells(store.folder).empty
    assert read_traces(store.folder).empty
    everything = read_cells(store.folder, all=True)
    assert len(everything) == 18
    assert accounting(everything).missing == 18  # what is there does not make up for it
    assert len(read_traces(store.folder, all=True)) == 36


def test_factors_of_earlier_versions_are_columns_with_all(tmp_path, small):
    store = Store(tmp_path)
    varied = change(small, ["arms", 0, "factors"], {"momentum": [0.0, 0.9]})
    varied["arms"] = varied["arms"][:1]
    for data in (varied, small):
        store.begin(Study.from_dict(data), N_TRAIN)
        store.append(Study.from_dict(data), pack(*map(record, cells_of(data))))
    assert "momentum" not in read_cells(tmp_path)
    frame = read_cells(tmp_path, all=True)
    assert frame.attrs["factors"] == ["lr", "hypergrad_lr", "momentum"]
    assert frame["momentum"].isna().tolist() == [True] * 18 + [False] * 12
    assert set(frame["momentum"][18:]) == {0.0, 0.9}


def test_what_is_not_in_the_identity_comes_from_the_present_study(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    store.append(study, pack(*map(record, cells)))
    renamed = change(change(small, ["name"], "new"), ["arms", 1, "baseline"], None)
    renamed |= {"seeds": [0], "protocol": {"pilot_seeds": [1]}}
    store.begin(Study.from_dict(renamed), N_TRAIN)
    frame = read_cells(store.folder)
    assert len(frame) == 18
    assert set(frame["study"]) == {"new"}
    assert frame["baseline"].isna().all()
    assert frame.groupby("seed")["role"].unique().str[0].to_dict() == {
        0: "confirmatory", 1: "pilot",
    }  # fmt: skip


def test_what_was_declared_and_as_what_seeds_were_trained_stays_on_record(store, small):
    """The present study's word replaces the role of a row, and not the record of it."""
    first = Study.from_dict(small)
    store.append(first, pack(*map(record, cells_of(small))))
    for i in range(2):  # a run that goes on with the same declaration is none of its own
        store.write_run(
            {"run_id": f"a{i}", "started_at": f"{AT}0{i}+00:00", "declared": declaration(first)}
        )
    later = small | {"seeds": [0], "protocol": {"pilot_seeds": [1]}}
    store.begin(Study.from_dict(later), N_TRAIN)
    attrs = read_cells(store.folder).attrs
    assert attrs["trained_as"] == [
        {"task": "logreg on digits", "seed": seed, "role": "confirmatory"} for seed in (0, 1)
    ]
    before, now = attrs["protocol_history"]
    assert (before["started_at"], now["started_at"]) == (f"{AT}00+00:00", None)
    assert before["declared"]["protocol"] is None
    assert now["declared"]["protocol"]["pilot_seeds"] == [1]
    assert (before["declared"]["seeds"], now["declared"]["seeds"]) == ([0, 1], [0])
    assert now["declared"]["arms"]["sgd_hd"]["baseline"] == "sgd"
    assert attrs["task_settings"]["logreg on digits"]["batch_size"] == 128


@pytest.mark.parametrize(
    "damage",
    [
        {"declared": None},
        {"declared": "?"},
        {"declared": {"protocol": {"pilot_seeds": "?"}, "seeds": [], "arms": {}}},
        {"declared": {"protocol": None, "seeds": [0], "arms": {"sgd": 3}}},
        {"started_at": "yesterday"},
        {"started_at": f"{AT}00"},
    ],
)
def test_a_declaration_that_cannot_be_read_is_none(store, small, damage):
    study = Study.from_dict(small)
    run = {"run_id": "a", "started_at": f"{AT}00+00:00", "declared": declaration(study)} | damage
    store.write_run(run)
    before, _ = read_cells(store.folder).attrs["protocol_history"]
    assert before["declared"] is None


def test_the_order_is_the_studys_whatever_the_order_of_parts(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    for cell in np.random.default_rng(0).permutation(np.array(cells, dtype=object)):
        store.append(study, pack(record(cell)))
    assert read_cells(store.folder)["cell_id"].tolist() == [cell.cell_id for cell in cells]


def test_a_plan_stands_and_new_cells_join_it(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    first = store.plan(cells, pack_cells(cells, study, 4))
    again = store.plan(cells, pack_cells(cells, study, 100))
    assert [p.pack_id for p in again] == [p.pack_id for p in first]
    longer = change(small, ["arms", 0, "lr"], [0.0, 0.1, 1.0, 0.5])
    more = cells_of(longer)
    grown = store.plan(more, pack_cells(more, Study.from_dict(longer), 4))
    assert {p.pack_id for p in first} < {p.pack_id for p in grown}
    assert sorted(c.cell_id for p in grown for c in p.cells) == sorted(c.cell_id for c in more)
    rest = store.plan(cells[5:], pack_cells(cells[5:], study, 4))
    assert sorted(c.cell_id for p in rest for c in p.cells) == sorted(c.cell_id for c in cells[5:])


def test_runs_are_kept_in_order(store):
    for run_id in ("20260101T000000-b", "20250101T000000-a"):
        store.write_run({"run_id": run_id})
    assert [run["run_id"] for run in read_results(store.folder).runs] == [
        "20250101T000000-a", "20260101T000000-b",
    ]  # fmt: skip


def test_an_empty_store_reads_as_empty_frames(store):
    cells = read_cells(store.folder)
    assert isinstance(cells, pd.DataFrame)
    assert cells.empty
    assert cells.attrs["expected"] == 18
    assert read_traces(store.folder).empty
