"""What is said of a study that breaks no rule and may still not be meant."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from test_ray import write_toml
from tests_support import change

from hdsens import InputError, Study
from hdsens.cli import cli
from hdsens.launch.notes import notes
from hdsens.study.cells import expand
from hdsens.training.check import check_study


def notes_of(data):
    study = Study.from_dict(data)
    return notes(study, expand(study, train_size=100), train_size=100)


def test_an_ordinary_study_raises_no_doubt(small):
    small["task"]["batch_size"] = 100
    assert notes_of(small) == ()


def test_a_batch_larger_than_the_data(small):
    small["task"]["batch_size"] = 101
    assert notes_of(small) == (
        "batch_size 101 is more than the 100 training examples: each step uses all",
    )


def test_a_baseline_of_another_update_rule(small):
    small["task"]["batch_size"] = 10
    assert notes_of(change(small, ["arms", 0, "optimizer"], "Adam")) == (
        "arm sgd_hd: optimizer SGD, its baseline's Adam",
    )


def test_a_baseline_with_other_settings(small):
    small["task"]["batch_size"] = 10
    small["arms"][1]["settings"] = {"momentum": 0.9, "lr_bounds": [0.0, 1.0]}
    small["arms"][0]["schedule"] = "inv_sqrt"
    assert notes_of(small) == (
        "arm sgd_hd: schedule none, its baseline's inv_sqrt",
        "arm sgd_hd: momentum 0.9, its baseline's 0",
    )


def test_plan_and_run_say_them(small, tmp_path):
    small["task"] |= {"batch_size": 5000, "steps": 1}
    write_toml(small, tmp_path / "small.toml")
    runner = CliRunner()
    said = "batch_size 5000 is more than the 1293 training examples: each step uses all\n"
    plan = runner.invoke(cli, ["plan", str(tmp_path / "small.toml")])
    assert f"note   {said}" in plan.output
    ran = runner.invoke(
        cli,
        ["run", str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"),
         "--executor", "inline"],
    )  # fmt: skip
    assert f"note: {said}" in ran.output


def test_an_optimizer_that_cannot_step_on_any_model_is_refused(small):
    small["task"]["weight_decay"] = 0.0
    small["arms"] = [{"name": "sgd", "optimizer": "SparseAdam", "lr": 0.1}]
    with pytest.raises(InputError) as caught:
        check_study(Study.from_dict(small))
    assert str(caught.value).startswith(
        "study 'small': arm 'sgd': optimizer SparseAdam must take a step on a vector with a dense "
        "gradient: RuntimeError: SparseAdam does not support dense gradients"
    )
    assert str(caught.value).endswith("; choose another optimizer, see `hdsens list`")


def test_an_lr_beyond_the_dtype_is_no_bad_input(small):
    check_study(Study.from_dict(change(small, ["arms", 0, "lr"], [0.0, 0.1, 1.0, 1e300])))


def test_an_hd_arm_without_a_baseline(small):
    small["task"]["batch_size"] = 10
    del small["arms"][1]["baseline"]
    assert notes_of(small) == ("arm 'sgd_hd' (SGDHD) names no baseline: no verdict compares it",)
    small["arms"][0] |= {"baseline": "sgd_hd", "hypergrad_lr": 0.0}
    assert notes_of(small) == ()  # it is the base itself
