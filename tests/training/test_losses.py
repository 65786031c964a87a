"""Losses: packs against the plain loop, a whole study against a loop by hand, and bad ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_fused import SGD_ARMS, arm, assert_equal, both, cells_of, declare, open_job
from torch import nn
from torch.nn import functional

from hdsens.errors import InputError
from hdsens.study import Study
from hdsens.tasks import Data
from hdsens.training.check import check_study
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.environment import training_environment
from hdsens.training.examples import Batches
from hdsens.training.plain import train_cells

WEIGHT = [1.0, 2.0, 0.5, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 0.1]


def reals(outputs=2, n=230, flat=False, nan=False):
    """Real targets that are nearly linear in the inputs."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n, 6)).astype(np.float32)
    targets = (inputs @ rng.normal(size=(6, outputs)) + 0.1).astype(np.float32)
    if nan:
        targets[3, 0] = np.nan
    targets = targets[:, 0] if flat else targets
    return Data(inputs[30:], targets[30:], inputs[:30], targets[:30])


def labels():
    """Several labels an example, each 0 or 1."""
    data = reals(3)
    train, test = ((t > 0).astype(np.float32) for t in (data.train_targets, data.test_targets))
    return Data(data.train_inputs, train, data.test_inputs, test)


def on(data, loss, *arms, settings=None, data_settings=None, **more):
    task = {"model": "mlp", "model_settings": {"width": 8}, "data": data, "loss": loss,
            "loss_settings": settings or {}, "data_settings": data_settings or {}, "steps": 40,
            "dtype": "float64", "batch_size": 50, **more}  # fmt: skip
    arms = arms or (arm("sgd", "SGD", (0.0, 0.01)),)
    return Study.from_dict({"name": "t", "seeds": 1, "task": task, "arms": list(arms)})


def absolute(outputs, targets, power=1.0):
    return (outputs - targets).abs().pow(power).mean()


def vector(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none")


def detached(outputs, targets):
    return functional.cross_entropy(outputs.detach(), targets)


def raising(outputs, targets):
    raise ValueError("no such loss")


class WithParameters(nn.Linear):
    """What nothing would train."""


WILD = arm("wild", "SGDHD", [0.1], hypergrad_lr=[1e300])
ARMS = [WILD if a["name"] == "wild" else a for a in SGD_ARMS]
OWN = "test_losses:"
CASES = {
    "smoothed": ("digits", "cross_entropy", {"label_smoothing": 0.1}),
    "weighted": ("digits", "cross_entropy", {"weight": WEIGHT, "label_smoothing": 0.2}),
    "mse": (OWN + "reals", "mse", {}),
    "a function": (OWN + "reals", OWN + "absolute", {"power": 1.5}),
    "a class": (OWN + "reals", "torch.nn:HuberLoss", {"delta": 0.5}),
    "labels": (OWN + "labels", "torch.nn:BCEWithLogitsLoss", {}),
    "plain": ("digits", "cross_entropy", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pack_gives_what_the_plain_loop_gives(case):
    data, loss, settings = CASES[case]
    fused, plain = both(on(data, loss, *ARMS, settings=settings))
    assert_equal(fused, plain)
    assert {r.outcome for r in fused} == {"completed", "diverged"}
    done = [r for r in plain if r.outcome == "completed"]
    assert {r.valid_accuracy is not None for r in done} == {data == "digits"}


BY_HAND = {
    "weighted": lambda: nn.CrossEntropyLoss(torch.tensor(WEIGHT).double(), label_smoothing=0.2),
    "mse": nn.MSELoss,
    "a class": lambda: nn.HuberLoss(delta=0.5),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_study_gives_the_losses_of_a_loop_by_hand(case):
    """The loop has a model, an optimizer and a loss of torch, and evaluates a split at once."""
    study = on(CASES[case][0], CASES[case][1], arm("sgd", "SGD", (0.05,)), settings=CASES[case][2])
    (cell,) = cells_of(study)
    with training_environment(torch.float64, 1):
        job = open_job(study)
        (record,) = train_cells(job, [cell])
        model, loss = job.fresh_model(0), BY_HAND[case]()
        train, valid = job.examples.train, job.examples.valid
        assert record.initial_loss == pytest.approx(loss(model(train.inputs), train.targets).item())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for step in range(1, 41):
            batch = Batches(job.examples, 0, 50).at(step)
            optimizer.zero_grad()
            loss(model(batch.inputs), batch.targets).backward()
            optimizer.step()
        found = [loss(model(split.inputs), split.targets).item() for split in (train, valid)]
    # batches of an evaluation are averaged by their number of examples: the same for these losses
    assert [record.train_loss, record.valid_loss] == pytest.approx(found, rel=1e-9)


def test_one_real_target_is_not_broadcast_against_the_outputs():
    """Targets (n,) and outputs (n, 1) would make an (n, n) table of differences."""
    arms = [arm("sgd", "SGD", (0.0, 0.1))]
    two = [both(on(OWN + "reals", "mse", *arms, data_settings={"outputs": 1, "flat": flat}))[1]
           for flat in (True, False)]  # fmt: skip
    assert [r.train_loss for r in two[0]] == [r.train_loss for r in two[1]]
    assert two[0][1].train_loss < two[0][0].train_loss / 2


BAD = {
    "unknown": (on("digits", "cross_entropie"), "task: loss 'cross_entropie' must be one of "
                "cross_entropy, mse or 'package.module:loss'; did you mean 'cross_entropy'?"),
    "mse of classes": (on("digits", "mse"), "task: loss 'mse' needs data whose targets are real "
                       "numbers; use loss = 'cross_entropy'"),
    "entropy of reals": (on(OWN + "reals", "cross_entropy"), "task: loss 'cross_entropy' needs "
                         "data whose targets are classes; use loss = 'mse'"),
    "smoothing": (on("digits", "cross_entropy", settings={"label_smoothing": 1.0}), "task: loss "
                  "'cross_entropy': label_smoothing must be a number in [0, 1) (got 1.0)"),
    "weights": (on("digits", "cross_entropy", settings={"weight": [1.0, 2.0]}), "task: loss "
                "'cross_entropy': weight must have one number for each of 10 classes "
                "(got [1.0, 2.0])"),
    "a zero weight": (on("digits", "cross_entropy", settings={"weight": [0.0] * 10}),
                      "weight must be a list of positive numbers, one a class (got"),
    "a setting": (on(OWN + "reals", "mse", settings={"delta": 1}), "task: loss 'mse': setting "
                  "'delta' must be left out: there is nothing to set"),
    "NaN targets": (on(OWN + "reals", "mse", data_settings={"nan": True}), "data: test_targets "
                    "must be finite, which 1 of its 30 rows are not: 3; mend these rows"),
    "a module": (on("digits", "nowhere:loss"), "task: loss 'nowhere:loss' must name a module that "
                 "can be imported (got 'nowhere')"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_losses_are_refused_when_the_study_is_checked(case):
    study, said = BAD[case]
    with pytest.raises(InputError) as caught:
        check_study(study)
    assert said in str(caught.value)


BAD_STEPS = {
    "vector": "task: loss 'test_losses:vector' must return the mean loss of a minibatch, a tensor "
    "without axes (got (50,)); return its .mean()",
    "detached": "loss 'test_losses:detached' must have a gradient by the model's outputs",
    "raising": "loss 'test_losses:raising' must take the model's outputs: ValueError: no such loss "
    "(test_losses.py:",
}


@pytest.mark.parametrize("name", BAD_STEPS)
def test_losses_that_cannot_train_are_refused_before_training(name):
    study = on("digits", OWN + name)
    with pytest.raises(InputError) as caught:
        choose_packs(study, cells_of(study), "cpu", 1, 4, "auto")
    assert BAD_STEPS[name] in str(caught.value)


def test_a_loss_that_would_have_to_be_trained_is_refused():
    study = on("digits", OWN + "WithParameters", settings={"in_features": 1, "out_features": 1})
    with pytest.raises(InputError, match="must have no parameters, which nothing would train"):
        choose_packs(study, cells_of(study), "cpu", 1, 4, "auto")


def test_the_loss_is_part_of_a_cells_identity_where_it_is_not_the_default():
    plain = declare([arm("sgd", "SGD")]).model_dump()
    assert "loss" in plain["task"]
    older = {**plain, "task": {k: v for k, v in plain["task"].items() if "loss" not in k}}
    other = {**plain, "task": {**plain["task"], "loss_settings": {"label_smoothing": 0.1}}}
    ids = [[c.cell_id for c in cells_of(Study.from_dict(s))] for s in (older, plain, other)]
    assert ids[0] == ids[1]
    assert not set(ids[1]) & set(ids[2])
    assert Study.from_dict(other).task.label == (
        "logreg on digits by cross_entropy(label_smoothing=0.1)"
    )
