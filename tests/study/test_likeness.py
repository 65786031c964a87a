"""What an arm has otherwise than its baseline: by hand, in plan and verdict, and by training."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from hdsens.analysis import verdict
from hdsens.launch.notes import notes
from hdsens.store.declared import protocol_history, task_settings
from hdsens.study import Study
from hdsens.study.cells import Cell, expand
from hdsens.training.optimizers import build_optimizer, build_schedule

N_EXAMPLES = 8
N_STEPS = 6
SGD: dict[str, Any] = {"optimizer": "SGD"}
SGDHD: dict[str, Any] = {"optimizer": "SGDHD", "hypergrad_lr": 1e-3}
ADAM: dict[str, Any] = {"optimizer": "Adam"}
ADAMHD: dict[str, Any] = {"optimizer": "AdamHD", "hypergrad_lr": 1e-3}
ADAMW: dict[str, Any] = {"optimizer": "AdamW"}


class Pair(NamedTuple):
    """An arm, its baseline, and what is to be named; the weight decay is the task's."""

    arm: dict[str, Any]
    base: dict[str, Any]
    named: tuple[str, ...] = ()
    weight_decay: float = 1e-2


def have(arm: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {**arm, "settings": settings}


def vary(arm: dict[str, Any], **factors: Any) -> dict[str, Any]:
    return {**arm, "factors": factors}


MOMENTUM = {"momentum": 0.9}
DECOUPLED = "decoupled_weight_decay true, its baseline's false"
COUPLED = "decoupled_weight_decay false, its baseline's true"
PAIRS = {
    "SGDHD": Pair(SGDHD, SGD),
    "SGDHD by path": Pair({**SGDHD, "optimizer": "hdsens.optim:SGDHD"}, SGD),
    "SGD by path": Pair(SGDHD, {"optimizer": "torch.optim:SGD"}),
    "momentum": Pair(have(SGDHD, **MOMENTUM), SGD, ("momentum 0.9, its baseline's 0",)),
    "momentum without HD": Pair(have(SGD, **MOMENTUM), SGD, ("momentum 0.9, its baseline's 0",)),
    "momentum of the baseline": Pair(
        SGDHD, have(SGD, **MOMENTUM), ("momentum 0, its baseline's 0.9",)),
    "momentum as a factor of one level": Pair(
        vary(SGDHD, momentum=[0.9]), SGD, ("momentum 0.9, its baseline's 0",)),
    "momentum as a factor of two levels": Pair(
        vary(SGDHD, momentum=[0.0, 0.9]), SGD, ("momentum 0, 0.9, its baseline's 0",)),
    "momentum as a factor that the baseline fixes": Pair(
        vary(SGDHD, momentum=[0.9]), have(SGD, **MOMENTUM)),
    "momentum as a factor of both": Pair(
        vary(SGDHD, momentum=[0.9]), vary(SGD, momentum=[0.0, 0.9])),
    "nesterov": Pair(
        have(SGDHD, **MOMENTUM, nesterov=True), have(SGD, **MOMENTUM),
        ("nesterov true, its baseline's false",)),
    "nesterov beside no momentum": Pair(
        have(SGDHD, **MOMENTUM, nesterov=True), SGD, ("momentum 0.9, its baseline's 0",)),
    "dampening": Pair(
        have(SGDHD, **MOMENTUM, dampening=0.5), have(SGD, **MOMENTUM),
        ("dampening 0.5, its baseline's 0",)),
    "dampening without momentum": Pair(have(SGDHD, dampening=0.5), SGD),
    "dampening where both vary momentum": Pair(
        {**vary(SGDHD, momentum=[0.9]), "settings": {"dampening": 0.5}},
        vary(SGD, momentum=[0.0, 0.9]), ("dampening 0.5, its baseline's 0",)),
    "dampening where both vary momentum and the arm has none": Pair(
        {**vary(SGDHD, momentum=[0.0]), "settings": {"dampening": 0.5}},
        vary(SGD, momentum=[0.0, 0.9])),
    "defaults in words": Pair(
        have(SGDHD, momentum=0, dampening=0.0, nesterov=False, maximize=False), SGD),
    "maximize": Pair(have(SGDHD, maximize=True), SGD, ("maximize true, its baseline's false",)),
    "foreach": Pair(have(SGDHD, foreach=False), SGD),
    "foreach of the baseline": Pair(SGDHD, have(SGD, foreach=True)),
    "fused": Pair(ADAMHD, have(ADAM, fused=True)),
    "rule and bounds of lr": Pair(have(SGDHD, rule="multiplicative", lr_bounds=[0, 1]), SGD),
    "transition": Pair(
        have(SGDHD, transition=[0.05, 1]), SGD, ("transition [0.05, 1], its baseline's none",)),
    "schedule": Pair(
        {**SGDHD, "schedule": "inv_sqrt"}, SGD, ("schedule inv_sqrt, its baseline's none",)),
    "clipping": Pair(
        {**SGDHD, "clip_grad_norm": 0.1}, SGD, ("clip_grad_norm 0.1, its baseline's 0",)),
    "batch size": Pair(have(SGDHD, batch_size=2), SGD, ("batch_size 2, its baseline's 4",)),
    "batch size as a factor": Pair(
        vary(SGDHD, batch_size=[2, 4]), SGD, ("batch_size 2, 4, its baseline's 4",)),
    "weight decay": Pair(
        have(SGDHD, weight_decay=0.1), SGD, ("weight_decay 0.1, its baseline's 0.01",)),
    "the task's own": Pair(have(SGDHD, weight_decay=0.01, batch_size=4), SGD),
    "AdamHD": Pair(ADAMHD, ADAM),
    "AdamHD decoupled": Pair(have(ADAMHD, decoupled_weight_decay=True), ADAM, (DECOUPLED,)),
    "AdamHD decoupled without weight decay": Pair(
        have(ADAMHD, decoupled_weight_decay=True), ADAM, weight_decay=0.0),
    "AdamHD beside AdamW": Pair(ADAMHD, ADAMW, (COUPLED,)),
    "AdamHD beside AdamW without weight decay": Pair(ADAMHD, ADAMW, weight_decay=0.0),
    "AdamHD decoupled beside AdamW": Pair(have(ADAMHD, decoupled_weight_decay=True), ADAMW),
    "AdamW beside Adam": Pair(ADAMW, ADAM, (DECOUPLED,)),
    "betas": Pair(
        have(ADAMHD, betas=[0.9, 0.9995]), ADAM,
        ("betas [0.9, 0.9995], its baseline's [0.9, 0.999]",)),
    "betas as a factor": Pair(
        vary(ADAMHD, betas=[[0.8, 0.9]]), ADAM, ("betas [0.8, 0.9], its baseline's [0.9, 0.999]",)),
    "betas and eps as by default": Pair(have(ADAMHD, betas=[0.9, 0.999], eps=1e-8), ADAM),
    "eps": Pair(have(ADAMHD, eps=1e-3), ADAM, ("eps 1e-3, its baseline's 1e-8",)),
    "amsgrad": Pair(
        have(ADAMHD, amsgrad=True, betas=[0.9, 0.5]), have(ADAM, betas=[0.9, 0.5]),
        ("amsgrad true, its baseline's false",)),
    "another update rule": Pair(
        have(ADAMHD, betas=[0.8, 0.9]), have(SGD, **MOMENTUM),
        ("optimizer Adam, its baseline's SGD",)),
    "another update rule, and more": Pair(
        have(ADAMHD, maximize=True), SGD,
        ("optimizer Adam, its baseline's SGD", "maximize true, its baseline's false")),
    "a baseline that learns its lr": Pair(
        SGDHD, {"optimizer": "SGDHD"}, ("hypergrad_lr 1e-3, its baseline's 1e-6",)),
    "no HD beside a baseline that learns its lr": Pair(
        SGD, {"optimizer": "SGDHD"}, ("hypergrad_lr 0, its baseline's 1e-6",)),
    "another rule beside a baseline that learns its lr": Pair(
        have(SGDHD, rule="multiplicative"), {**SGDHD, "hypergrad_lr": [0.0, 1e-3]},
        ("rule multiplicative, its baseline's additive",)),
    "an optimizer without facts": Pair(
        {"optimizer": "torch.optim:Adadelta"}, {"optimizer": "Adadelta"}),
    "a setting of an optimizer without facts": Pair(
        have({"optimizer": "Adadelta"}, rho=0.5), {"optimizer": "Adadelta"},
        ("rho 0.5, its baseline's unstated",)),
    "an optimizer of one's own": Pair(
        have({"optimizer": "mine:SGD", "hypergrad_lr": 1e-3}, **MOMENTUM), SGD,
        ("optimizer mine:SGD, its baseline's SGD", "momentum 0.9, its baseline's 0")),
}  # fmt: skip


def study_of(pair: Pair) -> Study:
    arms = [
        {"name": "base", "lr": [0.05, 0.1], **pair.base},
        {"name": "arm", "lr": [0.05, 0.1], "baseline": "base", **pair.arm},
    ]
    task = {"model": "logreg", "steps": N_STEPS, "batch_size": 4}
    return Study.from_dict(
        {
            "name": "pair",
            "seeds": 2,
            "task": {**task, "weight_decay": pair.weight_decay},
            "arms": arms,
        }
    )


def departures(study: Study) -> list[str]:
    """What the verdict of a finished study says of its compared arm."""
    rows = [
        {"cell_id": c.cell_id, "task": study.task.label, "arm": c.arm, "seed": c.seed,
         "baseline": study.arm(c.arm).baseline, "hypergrad_lr": None, "role": c.role,
         "outcome": "completed", "initial_loss": 2.0, "train_loss": 1.0, **c.factors}
        for c in expand(study, N_EXAMPLES)
    ]  # fmt: skip
    cells = pd.DataFrame(rows)
    cells.attrs["factors"] = list(dict.fromkeys(n for a in study.arms for n in a.factor_levels))
    cells.attrs["protocol_history"] = protocol_history(study, [])
    cells.attrs["task_settings"] = task_settings(study, N_EXAMPLES)
    start = f"arm arm on {study.task.label}: "
    found = [text.removeprefix(start) for text in verdict(cells).deviations if start in text]
    return [text for text in found if "its baseline's" in text]


@pytest.mark.parametrize("name", PAIRS)
def test_plan_and_verdict_name_what_was_written_by_hand(name: str) -> None:
    pair = PAIRS[name]
    study = study_of(pair)
    of_plan = [
        text.removeprefix("arm arm: ")
        for text in notes(study, expand(study, N_EXAMPLES), N_EXAMPLES)
        if text.startswith("arm arm: ")
    ]
    assert of_plan == list(pair.named)
    assert departures(study) == list(pair.named)


@pytest.mark.parametrize("name", [n for n in PAIRS if "one's own" not in n])
def test_equal_steps_exactly_where_nothing_is_named(name: str) -> None:
    """A training in double precision; an HD arm beside a baseline that learns no lr has β = 0."""
    pair = PAIRS[name]
    study = study_of(pair)
    cells = [c for c in expand(study, N_EXAMPLES) if c.seed == 0]
    base_cells = [c for c in cells if c.arm == "base"]
    off = {} if pair.base["optimizer"].endswith("HD") else {"hypergrad_lr": 0.0}
    equal = True
    for cell in (c for c in cells if c.arm == "arm"):
        beside = next(
            b for b in base_cells if all(cell.factors[k] == v for k, v in b.factors.items())
        )
        own = {**cell.factors, **(off if "hypergrad_lr" in cell.factors else {})}
        steps = steps_of(study, cell, own), steps_of(study, beside, beside.factors)
        equal &= bool(torch.allclose(*steps, rtol=0, atol=1e-11))
    assert equal == (pair.named == ())


def steps_of(study: Study, cell: Cell, factors: Any) -> torch.Tensor:
    """The parameters after each step, `(n_steps, n_parameters)`, of a small least-squares fit."""
    arm = study.arm(cell.arm)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N_EXAMPLES, 3, generator=generator, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64) + 0.5
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    bias = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = build_optimizer([weight, bias], arm, study.task, factors)
    schedule = build_schedule(optimizer, arm.schedule)
    found = []
    for step in range(N_STEPS):
        rows = torch.arange(step * cell.batch_size, (step + 1) * cell.batch_size) % N_EXAMPLES
        optimizer.zero_grad()
        (x[rows] @ weight + bias - y[rows]).square().mean().backward()
        if arm.clip_grad_norm > 0:
            clip_grad_norm_([weight, bias], arm.clip_grad_norm)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        found.append(torch.cat([weight.detach(), bias.detach().reshape(1)]))
    return torch.stack(found)
