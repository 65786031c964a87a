"""What each of torch's schedulers does to an adapted lr, and that the page says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from optim_cases import MAKES, make_params, train
from torch.optim import lr_scheduler as schedulers
from torch.optim.swa_utils import SWALR

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"

SCHEDULERS = {
    "StepLR": lambda o: schedulers.StepLR(o, 2),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [2, 4]),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.9),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda epoch: 0.9),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.5, total_iters=5),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, 5),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 10),
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda epoch: 0.9**epoch),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 5),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 0.001, 0.1, cycle_momentum=False),
    "SWALR": lambda o: SWALR(o, 0.05, anneal_epochs=3),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 0.1, 20, cycle_momentum=False),
}


def documented(heading):
    """The scheduler names in the row of the page's table that begins with `heading`."""
    row = next(x for x in PAGE.read_text("utf-8").splitlines() if x.startswith(f"| {heading}"))
    return set(re.findall(r"`(\w+)`", row))


def after_schedule(make, scheduler, factor):
    """The lr after four steps, when something multiplied it by `factor` before the last."""
    params = make_params()
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-9)
    schedule = SCHEDULERS[scheduler](optimizer)
    for step in range(4):
        train(optimizer, params, 1, step)
        if step == 3:
            optimizer.param_groups[0]["lr"] *= factor
        schedule.step()
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_page_says_which_schedulers_keep_an_adapted_lr(make, scheduler):
    plain, doubled = (after_schedule(make, scheduler, factor) for factor in (1, 2))
    kept = doubled != pytest.approx(plain, rel=1e-6)
    assert (scheduler in documented("keep")) == kept
    assert (scheduler in documented("overwrite it from")) == (not kept)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01)], ids=["float", "tensor"])
def test_a_sequence_of_schedulers_overwrites_at_its_milestones(make, lr):
    finals = []
    for factor in (1, 2):
        params = make_params()
        optimizer = make(params, lr=lr, hypergrad_lr=1e-9)
        warmup = schedulers.LinearLR(optimizer, 0.5, total_iters=2)
        cosine = schedulers.CosineAnnealingLR(optimizer, 10)
        schedule = schedulers.SequentialLR(optimizer, [warmup, cosine], [4])
        for step in range(4):
            train(optimizer, params, 1, step)
            finals.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.param_groups[0]["lr"] *= factor if step == 1 else 1
            schedule.step()
        finals.append(float(optimizer.param_groups[0]["lr"]))
    plain, doubled = finals[:5], finals[5:]
    assert doubled[3] == pytest.approx(2 * plain[3], rel=1e-4)
    assert doubled[4] == pytest.approx(plain[4], rel=1e-6)
    assert "SequentialLR" in documented("overwrite it at a milestone")


@pytest.mark.parametrize("make", MAKES)
def test_the_lr_noted_at_the_start_stays_when_it_is_the_same_tensor(make):
    """As SequentialLR of torch 2.6 makes it."""
    params = make_params()
    optimizer = make(params, lr=torch.tensor(0.01), hypergrad_lr=1e-4)
    (group,) = optimizer.param_groups
    noted = group["initial_lr"] = group["lr"]
    train(optimizer, params, 3)
    assert noted == torch.tensor(0.01) != group["lr"]


def test_the_page_speaks_of_every_scheduler():
    headings = ("keep", "overwrite it from", "overwrite it at", "do what")
    spoken = set().union(*map(documented, headings))
    known = {n for n in dir(schedulers) if n.endswith(("LR", "Restarts", "Scheduler", "Plateau"))}
    assert {name for name in known if not name.startswith("_")} - {"LRScheduler"} <= spoken


@pytest.mark.parametrize("make", MAKES)
def test_plateaus_scale_an_adapted_lr(make):
    params = make_params()
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-4)
    schedule = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    train(optimizer, params, 3)
    adapted = optimizer.param_groups[0]["lr"]
    for _ in range(2):
        schedule.step(1.0)
    assert optimizer.param_groups[0]["lr"] == adapted * 0.5
    assert "ReduceLROnPlateau" in documented("keep")
