"""Factors that change model, data, budget or clipping: as if each level had its own study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hdsens import InputError, Study, read_cells, run
from hdsens.analysis import regret_table, verdict
from hdsens.launch.planning import describe
from hdsens.study.cells import expand
from hdsens.study.packs import pack_cells
from hdsens.tasks import Data
from hdsens.training.check import check_study

LR = [0.0, 0.1, 0.5]
DATA = "test_task_factors:points"


def points(noise, n=120):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n, 4)).astype(np.float32)
    targets = (inputs[:, 0] + noise * rng.normal(size=n) > 0).astype(np.int64)
    return Data(inputs[20:], targets[20:], inputs[:20], targets[:20], n_classes=2)


def declare(name, factors, *, clip=0.0, base_factors=None, **task):
    task = {"model": "mlp", "model_settings": {"width": 4}, "data": DATA, "steps": 20,
            "data_settings": {"noise": 0.1}, "dtype": "float64", "batch_size": 32,
            **task}  # fmt: skip
    arm = {"lr": LR, "clip_grad_norm": clip}
    base_factors = factors if base_factors is None else base_factors
    return Study.from_dict({"name": name, "seeds": 2, "task": task, "arms": [
        {"name": "sgd", "optimizer": "SGD", "factors": base_factors, **arm},
        {"name": "hd", "optimizer": "SGDHD", "baseline": "sgd", "hypergrad_lr": 1e-3,
         "factors": factors, **arm},
    ]})  # fmt: skip


def results(study, tmp_path):
    out = tmp_path / study.name
    run(study, out=out, executor="inline", pack_size=8)
    return read_cells(out)


NUMBERS = ["initial_loss", "train_loss", "valid_loss", "steps_run", "lr_final"]
CASES = {
    "model.width": ([4, 7], lambda level: {"model_settings": {"width": level}}),
    "data.noise": ([0.1, 2.0], lambda level: {"data_settings": {"noise": level}}),
    "budget": ([0.24, 1.0], lambda level: {"steps": 5 if level == 0.24 else 20}),
    "clip_grad_norm": ([0.0, 0.05], lambda level: {"clip": level}),
}


@pytest.mark.parametrize("factor", CASES)
def test_each_level_gives_what_a_study_of_its_own_gives(factor, tmp_path):
    levels, alone = CASES[factor]
    cells = results(declare("all", {factor: levels}), tmp_path)
    regrets = regret_table(cells)
    apart = factor != "clip_grad_norm"
    assert cells["task"].nunique() == regrets["task"].nunique() == (2 if apart else 1)
    for level in levels:
        own = results(declare(f"only_{level}", {}, **alone(level)), tmp_path)
        same = cells[cells[factor] == level]
        keys = ["arm", "lr", "seed"]
        one, two = (f.sort_values(keys)[[*keys, *NUMBERS]].reset_index(drop=True)
                    for f in (own, same))  # fmt: skip
        pd.testing.assert_frame_equal(one, two, rtol=1e-9)
        if apart:
            found = regrets[regrets[factor] == level].set_index(["arm", "lr"])["regret_mean"]
            wanted = regret_table(own).set_index(["arm", "lr"])["regret_mean"]
            pd.testing.assert_series_equal(found.sort_index(), wanted.sort_index(), rtol=1e-9)


def test_cells_of_several_tasks_are_planned_judged_and_found_again(tmp_path):
    study = declare("two", {"model.width": [4, 7], "budget": [0.5, 1.0]})
    cells = expand(study, 90)
    for pack in pack_cells(cells, study, 100):
        assert len({(c.factors["model.width"], c.steps, c.seed) for c in pack.cells}) == 1
    assert "study  two: mlp on test_task_factors:points(noise=0.1), by model.width and budget" in (
        describe(study, None)
    )
    frame = results(study, tmp_path)
    assert set(frame["task"]) == {
        f"mlp(width={width}) on {DATA}(noise=0.1), budget {share}"
        for width in (4, 7) for share in ("0.5", "1")
    }  # fmt: skip
    assert (
        frame["initial_loss"].groupby([frame["model.width"], frame["seed"]]).nunique().eq(1).all()
    )
    assert frame["initial_loss"].nunique() == 4
    assert set(verdict(frame).parts["task"]) == set(frame["task"])
    assert run(study, out=tmp_path / "two", executor="inline").status.missing == 0


def test_a_dotted_key_is_the_quoted_one():
    quoted, dotted = (declare("t", f) for f in ({"model.width": [4]}, {"model": {"width": [4]}}))
    assert quoted.arms == dotted.arms
    stated = declare("t", {"model.width": [4]}, model_settings={"width": 99})
    # what a factor overrides is not part of a cell's identity
    assert [c.cell_id for c in expand(quoted, 90)] == [c.cell_id for c in expand(stated, 90)]
    assert len({c.cell_id for c in expand(declare("t", {"model.width": [4, 5]}), 90)}) == 24


BAD = {
    "a share": (lambda: declare("t", {"budget": [0.0]}), "factor 'budget' must be shares > 0 and "
                "<= 1 (got 0.0)"),
    "a norm": (lambda: declare("t", {"clip_grad_norm": ["1"]}), "factor 'clip_grad_norm' must be "
               "numbers >= 0 (got '1')"),
    "a name": (lambda: declare("t", {"model.wi dth": [1]}), "must be a Python identifier, or "
               "model.… or data.… with one"),
    "a table": (lambda: declare("t", {"loss.delta": [1]}), "must be a Python identifier, or"),
    "a base without": (lambda: declare("t", {"model.width": [4]}, base_factors={}), "baseline must "
                       "vary model.width as the arm does: cells are compared within one task"),
    "a setting": (lambda: check_study(declare("t", {"model.widht": [4]})), "model 'mlp': setting "
                  "'widht' must be one of width, depth"),
    "a value": (lambda: check_study(declare("t", {"model.width": [4, 0]})), "model 'mlp': width "
                "must be an integer >= 1 (got 0)"),
    "a size": (lambda: check_study(declare("t", {"data.n": [50, 60]}, steps=None, epochs=1)),
               "must have the same number of training examples at every level of data.… "
               "(got [27, 36]); give the budget as steps"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_levels_are_one_line(case):
    with pytest.raises(InputError) as caught:
        BAD[case][0]()
    assert BAD[case][1] in str(caught.value)
