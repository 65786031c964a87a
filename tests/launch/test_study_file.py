"""Study files beside results from a time when other names were free."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner
from test_ray import write_toml

from hdsens import InputError, Study, read_cells, run
from hdsens.cli import cli
from hdsens.launch.study_file import read_study
from hdsens.store import Store
from hdsens.training.check import examples_to_train

REFUSED = "factor 'loss' must not be named like a result column"


class Lossy(torch.optim.SGD):
    """SGD with an argument that a release later than the results gave to a table's column."""

    def __init__(self, params, lr, weight_decay=0.0, loss=0.0):
        super().__init__(params, lr, weight_decay=weight_decay)


@pytest.fixture
def old(small):
    """A study of the first release with a factor `loss`."""
    (arm, _) = small["arms"]
    arm |= {"optimizer": "test_study_file:Lossy", "lr": [0.0, 0.1], "factors": {"loss": [1.0]}}
    return small | {"arms": [arm], "seeds": 1}


def test_results_with_a_factor_whose_name_is_taken_by_now_are_extended(old, tmp_path):
    file, out = tmp_path / "old.toml", tmp_path / "out"
    stored = Study.from_dict(old, stored=True)
    Store(out).begin(stored, examples_to_train(stored.task))
    old["arms"][0]["factors"]["loss"] = [1.0, 2.0]
    write_toml(old, file)
    with pytest.raises(InputError, match=REFUSED):
        read_study(file)  # the default folder has no such results
    assert run(file, out, executor="inline").status.whole
    assert sorted(read_cells(out)["loss"]) == [1.0, 1.0, 2.0, 2.0]
    status = CliRunner().invoke(cli, ["status", str(file), "--out", str(out)])
    assert status.exit_code == 0, status.output


def test_a_worker_takes_the_study_as_the_driver_has_it(old):
    study = Study.from_dict(old, stored=True)
    assert Study.from_json(study.model_dump_json()) == study


def test_results_with_other_factors_free_no_name(old, tmp_path):
    (arm,) = old["arms"]
    other = Study.from_dict(old | {"arms": [arm | {"factors": {"gain": [1.0]}}]})
    Store(tmp_path / "out").begin(other, 100)
    write_toml(old, tmp_path / "old.toml")
    with pytest.raises(InputError, match=REFUSED):
        read_study(tmp_path / "old.toml", tmp_path / "out")
