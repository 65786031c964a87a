"""Run by test_how_to_add.py alone, where hdsens has all that CONTRIBUTING.md shows how to add."""

from __future__ import annotations

from pathlib import Path

import pytest
from verdict_studies import GOOD, PROTOCOL

import hdsens
from hdsens import Study, read_cells, read_traces
from hdsens.analysis import verdict
from hdsens.store import Store
from hdsens.study import Arm, Task
from hdsens.study.cells import expand
from hdsens.training.check import examples_to_train
from hdsens.training.fused.fusable import obstacle
from hdsens.training.pack import PackTraining

OLD_STORE = Path(__file__).parent / "store" / "aef8aaf" / "store"


def test_the_package_is_the_copy():
    assert Path(hdsens.__file__).parents[1] != Path(__file__).parents[1]


def trained(study, path):
    """The record of the pack of all cells."""
    cells = expand(study, examples_to_train(study.task))
    training = PackTraining(study, cells, "cpu", path=path)
    assert [record.outcome for record in training] == ["completed"] * len(cells)
    return training.record()


def test_the_optimizer_trains_in_a_pack_as_it_does_alone():
    arms = [
        Arm(name="a", optimizer="Adadelta", lr=[0, 1e-3, 1]),
        Arm(name="b", optimizer="torch.optim:Adadelta", lr=1, settings={"eps": 1e-3}),
    ]
    task = Task(model="logreg", steps=30, weight_decay=0.1, dtype="float64")
    study = Study(name="adadelta", seeds=[0], task=task, arms=arms)
    fused, plain = (trained(study, path).cells for path in ("fused", "plain"))
    assert [cell.train_loss for cell in fused] == pytest.approx(
        [cell.train_loss for cell in plain], rel=1e-9
    )
    assert [obstacle(arm, task, {"lr": 0.1}) for arm in arms] == [None, None]
    other = arms[0].model_copy(update={"settings": {"rho": 0.5}})
    assert obstacle(other, task, {"lr": 0.1}) == "rho = 0.5 has no fused form"


@pytest.mark.parametrize("path", ["fused", "plain"])
def test_the_column_is_filled_stored_and_read(small, tmp_path, path):
    study, store = Study.from_dict(small), Store(tmp_path)
    store.begin(study, examples_to_train(study.task))
    store.append(study, trained(study, path))
    last = read_traces(tmp_path).groupby("cell_id")["batch_loss"].last()
    found = read_cells(tmp_path).set_index("cell_id")["last_batch_loss"]
    assert found.to_dict() == last.to_dict()
    assert len(found) == 18


def test_the_column_is_null_in_an_older_store():
    assert read_cells(OLD_STORE)["last_batch_loss"].isna().all()


def test_the_claim_is_judged_with_its_own_margin():
    found = verdict(GOOD.cells(), PROTOCOL)
    (finding,) = found.parts[found.parts["part"] == "C5"].to_dict("records")
    assert (finding["verdict"], finding["margin"]) == ("supported", 0.05)
    assert "C5 as good at the best lr" in str(found)
