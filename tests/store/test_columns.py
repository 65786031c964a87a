"""One declaration of the result columns: what is written, read, refused and documented."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from store_cases import N_TRAIN, cells_of, pack, record

from hdsens import InputError, Study, read_cells, read_traces
from hdsens.records import CellRecord, failure
from hdsens.store import Store
from hdsens.store.wording import status_text
from hdsens.study.cells import make_cell
from hdsens.study.columns import CELLS, RESULT_COLUMNS, TRACES

DOCS = Path(__file__).parents[2] / "docs" / "results.md"
KINDS = {"text": "text", "whole": "whole number", "real": "number", "time": "time", "flag": "flag"}


def table(columns):
    """The columns as docs/results.md has them."""
    lines = ["| column | kind | meaning |", "|---|---|---|"]
    for column in columns:
        kind = KINDS[column.kind] + (f", {column.unit}" if column.unit else "")
        later = f" (null in parts before 1.{column.since})" if column.since else ""
        meaning = column.meaning + ("" if column.derived else later)
        lines.append(f"| `{column.name}` | {kind} | {meaning} |")
    return "\n".join(lines)


@pytest.mark.parametrize("columns", [CELLS, TRACES], ids=["cells", "traces"])
def test_the_documentation_has_the_columns_as_declared(columns):
    expected = table(columns)
    assert expected in DOCS.read_text(encoding="utf-8"), f"docs/results.md needs:\n{expected}"


def test_no_column_is_declared_twice():
    for columns in (CELLS, TRACES):
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)


def test_a_column_says_whether_a_name_is_its_own():
    by_name = {column.name: column for column in CELLS}
    assert by_name["lr"].has("lr")
    assert not by_name["lr"].has("lr_final")
    family = by_name["steps_to_<target>"]
    assert [family.has(n) for n in ("steps_to_low", "steps_to_", "steps", "steps_to_a b")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_factors_of_the_first_release_had_all_names_but_these():
    """A name that joins them would make a study with that factor unreadable."""
    first = {
        *("cell_id", "study", "task", "arm", "baseline", "optimizer", "lr", "hypergrad_lr"),
        *("seed", "role", "outcome", "error", "diverged_step", "steps", "steps_run"),
        *("initial_loss", "train_loss", "valid_loss", "valid_accuracy", "best_valid_loss"),
        *("lr_final", "lr_max", "lr_min", "wall_s", "pack_size", "device", "dtype"),
        *("torch_version", "hdsens_version", "finished_at", "step", "epoch", "batch_loss"),
        "steps_to_<target>",
    }
    assert first == RESULT_COLUMNS


def test_readers_give_the_declared_columns(store, small):
    store.append(Study.from_dict(small), pack(*map(record, cells_of(small))))
    cells, traces = read_cells(store.folder), read_traces(store.folder)
    shown = [c.name for c in CELLS if c.shown and c.prefix is None]
    assert sorted(cells.columns) == sorted([*shown, "steps_to_low"])
    assert traces.columns.tolist() == [c.name for c in TRACES]
    assert cells["initial_valid_loss"].isna().all()
    assert traces["lr_effective"].isna().all()


def test_a_value_of_a_further_column_is_kept_and_an_undeclared_one_is_a_mistake(store, small):
    study, (cell, *_) = Study.from_dict(small), cells_of(small)
    store.append(study, pack(record(cell, more={"initial_valid_loss": 2.5})))
    assert read_cells(store.folder)["initial_valid_loss"].tolist() == [2.5]
    with pytest.raises(AssertionError, match="does not declare: \\['novel'\\]"):
        store.append(study, pack(record(cell, more={"novel": 2.5})))


@pytest.mark.parametrize("name", ["initial_valid_loss", "source"])
def test_a_factor_keeps_its_name_where_a_later_column_has_it_too(store, small, name):
    """In a new study too, so that one rule holds."""
    for arm in small["arms"]:
        arm["factors"] = {name: [3.0, 4.0]}
    study, cells = Study.from_dict(small), cells_of(small)
    store.begin(study, N_TRAIN)
    store.append(study, pack(*(record(cell, more={name: None}) for cell in cells)))
    for everything in (False, True):
        frame = read_cells(store.folder, all=everything)
        assert frame.columns.is_unique
        assert frame[name].tolist() == [cell.factors[name] for cell in cells]
    store.compact()
    assert read_cells(store.folder)[name].tolist() == [cell.factors[name] for cell in cells]


@pytest.mark.parametrize("name", ["learned", "lr_effective", "loss", "_own"])
def test_a_stored_study_keeps_factors_that_a_new_one_may_not_name(store, small, name):
    for arm in small["arms"]:
        arm["factors"] = {name: [3.0]}
    with pytest.raises(InputError, match=f"factor '{name}' must not be named like a result column"):
        Study.from_dict(small)
    path = store.folder / "study.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"study": small}))
    study, _ = store.study()
    store.append(study, pack(*map(record, store.expected())))
    assert read_cells(store.folder)[name].tolist() == [3.0] * 18
    assert store.damage() == ()


def test_learned_says_whether_training_made_the_loss_smaller(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    losses = [
        (2.0, 1.0, True),
        (2.0, 2.0, False),
        (2.0, 3.0, False),
        (2.0, 2.0 - 1e-6, False),  # within rounding of a loss of 2
        (2.0, 2.0 - 3e-6, True),
        (0.5, 0.5 - 0.9e-6, False),  # within rounding of a loss below 1
        (0.5, 0.5 - 1.1e-6, True),
        (-4.0, -4.1, True),
        (-4.0, -4.0 - 3e-6, False),
        (None, 1.0, None),
        (2.0, None, None),
    ]
    records = [
        replace(record(cell), train_loss=after, initial_loss=before)
        for cell, (before, after, _) in zip(cells, losses, strict=False)
    ]
    diverged = [
        CellRecord(cells[11], "diverged", diverged_step=1, initial_loss=2.0),
        CellRecord(cells[12], "diverged", diverged_step=1),
        CellRecord(cells[14], "diverged", initial_loss=2.0, train_loss=1.0),
    ]
    store.append(study, pack(*records, *diverged, failure(cells[13], "broken")))
    found = read_cells(store.folder)["learned"]
    assert found.dtype == "boolean"
    assert [None if pd.isna(v) else bool(v) for v in found] == [
        *(learned for _, _, learned in losses), False, False, None, False,
    ]  # fmt: skip


def test_cells_of_a_search_lie_beside_the_grids(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    store.append(study, pack(*map(record, cells)))
    grid = read_cells(store.folder), read_traces(store.folder)
    points = [{"lr": lr, "hypergrad_lr": 1e-3, "momentum": 0.5} for lr in (0.3, 0.4)]
    searched = [make_cell(study, "sgd_hd", point, 7, N_TRAIN) for point in points]
    store.append(study, pack(record(searched[0]), failure(searched[1], "x")), source="tpe")
    earlier = make_cell(study, "sgd", {"lr": 9.0}, 0, N_TRAIN)
    store.append(study, pack(record(earlier)))
    for _ in range(2):
        for one, other in zip(
            (read_cells(store.folder), read_traces(store.folder)), grid, strict=True
        ):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        everything = read_cells(store.folder, all=True).set_index("cell_id")
        assert len(everything) == 18 + 3
        sources = everything["source"].dropna().to_dict()
        assert sources == {cell.cell_id: "tpe" for cell in searched}
        assert everything.loc[searched[0].cell_id, "momentum"] == 0.5
        status = store.status(cells)
        assert (status.searched, status.other, status.expected) == (2, 1, 18)
        assert status.whole
        store.compact()
    lines = status_text(Store(store.folder), cells).lines
    assert "searched         2  cells that searches asked for" in lines
    assert "other            1  cells of other versions of the study" in lines
