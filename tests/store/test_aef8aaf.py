"""The store that commit aef8aaf wrote (`aef8aaf/write.py`) reads for ever; no cell trains again.

It holds two arms with a protocol, another factor, diverged cells, a failed one, cells of an earlier
study, a compacted part, a plan.parquet and a file of plan/, and the checkpoint of a pack that was
interrupted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from hdsens import Study, read_cells, read_traces, run
from hdsens.cli import cli
from hdsens.store import Store
from hdsens.store.checkpoints import find_checkpoint
from hdsens.study.cells import expand

FOLDER = Path(__file__).with_name("aef8aaf")
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
VERSIONS = {"hdsens": "0.1.0", "torch": "2.13.0+cpu"}
N_TRAIN = 1293


@pytest.fixture
def kept(tmp_path):
    shutil.copytree(FOLDER / "store", tmp_path / "kept")
    return Store(tmp_path / "kept")


def study(name):
    return Study.from_toml(FOLDER / f"{name}.toml")


def rows(frame, columns):
    """Values row by row, null where there is none; columns that came later are left out."""
    frame = frame[columns]
    times = frame.select_dtypes("datetimetz").columns
    text = frame.assign(**{name: frame[name].map(lambda t: t.isoformat()) for name in times})
    return text.astype(object).where(text.notna(), None).to_numpy().tolist()


def assert_reads_as_then(folder):
    cells, traces = read_cells(folder, all=True), read_traces(folder, all=True)
    order = cells.set_index("cell_id", drop=False).loc[[row[0] for row in EXPECTED["cells"]]]
    assert rows(order, EXPECTED["cell_columns"]) == EXPECTED["cells"]
    assert rows(traces, EXPECTED["trace_columns"]) == EXPECTED["traces"]
    assert read_cells(folder)["cell_id"].tolist() == EXPECTED["own"]
    assert cells.attrs["factors"] == EXPECTED["factors"]
    assert cells.attrs["expected"] == EXPECTED["expected"]


def test_it_holds_what_its_name_says(kept):
    cells = read_cells(kept.folder)
    assert cells["outcome"].value_counts().to_dict() == {
        "completed": 22, "diverged": 9, "failed": 1,
    }  # fmt: skip
    assert set(cells["role"]) == {"pilot", "confirmatory"}
    assert len(read_cells(kept.folder, all=True)) == 32 + 4
    assert kept.study() == (study("second"), N_TRAIN)
    assert len(kept.expected()) == 36


def test_every_value_reads_as_it_did(kept):
    assert_reads_as_then(kept.folder)
    assert sorted(kept.planned()) == EXPECTED["planned"]


def test_nothing_of_it_is_damaged(kept):
    assert kept.damage() == ()


def test_compaction_changes_no_value(kept):
    assert kept.compact().after < 7
    assert_reads_as_then(kept.folder)
    assert kept.damage() == ()


def test_its_checkpoint_is_found(kept):
    unfinished = {c.cell_id for c in kept.expected()} - set(kept.outcomes())
    snapshot = find_checkpoint(kept.place, unfinished, VERSIONS)
    assert set(snapshot.cell_ids) <= unfinished
    assert snapshot.step == 3


@pytest.mark.parametrize(("name", "compacted"), [("second", False), ("third", True)])
def test_it_goes_on_and_grows_with_no_cell_trained_again(kept, name, compacted):
    if compacted:
        kept.compact()
    before = read_cells(kept.folder, all=True).set_index("cell_id")
    results = before[before["outcome"] != "failed"]
    assert len(results) == 35
    assert run(study(name), kept.folder, executor="inline").status.whole
    after = read_cells(kept.folder, all=True).set_index("cell_id")
    pd.testing.assert_series_equal(
        after.loc[results.index, "finished_at"], results["finished_at"], check_exact=True
    )
    assert len(after) == len(expand(study(name), N_TRAIN)) + 4
    assert kept.damage() == ()
    assert not list((kept.folder / "checkpoints").iterdir())


def test_every_command_that_reads_it_succeeds(kept):
    theirs = str(kept.folder)
    for arguments in (["status", theirs, "--check"], ["verdict", theirs], ["diff", theirs, theirs]):
        done = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert done.exception is None, arguments
        assert "damaged" not in done.output
