"""Options that are turned on or off in mid-training."""

from __future__ import annotations

import pytest
import torch
from optim_cases import make_params, train, values

from hdsens.optim import SGDHD, AdamHD


def test_amsgrad_may_start_in_mid_training():
    """u_{t-1} is what it was, and the maximum is over the step before and those to come."""
    params, others = make_params(torch.float64), make_params(torch.float64)
    optimizer = AdamHD(params, lr=0.01, hypergrad_lr=1e-4)
    plain = AdamHD(others, lr=0.01, hypergrad_lr=1e-4)
    train(optimizer, params, 3)
    train(plain, others, 3)
    last = [optimizer.state[p]["exp_avg_sq"].clone() for p in params]
    optimizer.param_groups[0]["amsgrad"] = True
    assert train(optimizer, params, 1, 3) == train(plain, others, 1, 3)
    for p, before in zip(params, last, strict=True):
        state = optimizer.state[p]
        assert torch.equal(state["max_exp_avg_sq"], torch.maximum(before, state["exp_avg_sq"]))


MOMENTA = [
    {"momentum": 0, "dampening": 0, "nesterov": False},
    {"momentum": 0.9, "dampening": 0.5, "nesterov": False},
    {"momentum": 0.9, "dampening": 0, "nesterov": True},
]
TURNS = [(a, b) for a in MOMENTA for b in MOMENTA if a is not b]


@pytest.mark.parametrize(("first", "then"), TURNS, ids=str)
def test_momentum_may_turn_in_mid_training_as_in_torch(first, then):
    """At β = 0 the bits are those of a torch.optim.SGD whose options turned."""
    params, others = make_params(torch.float64), make_params(torch.float64)
    optimizer = SGDHD(params, lr=0.01, hypergrad_lr=0, **first)
    base = torch.optim.SGD(others, lr=0.01, **first)
    for steps, start in ((3, 0), (3, 3)):
        train(optimizer, params, steps, start)
        train(base, others, steps, start)
        optimizer.param_groups[0].update(then)
        base.param_groups[0].update(then)
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


@pytest.mark.parametrize(("first", "then"), TURNS, ids=str)
def test_a_turn_of_momentum_leaves_the_lr_alone_for_a_step(first, then):
    """The lr moves again at the next one, along what the step before did."""
    params = make_params(torch.float64)
    optimizer = SGDHD(params, lr=0.01, hypergrad_lr=1e-4, **first)
    adapted = train(optimizer, params, 3)[-1]
    optimizer.param_groups[0].update(then)
    before = values(params)
    assert train(optimizer, params, 1, 3) == [adapted]
    moved = [(a.detach() - b.detach()) / adapted for a, b in zip(before, params, strict=True)]
    (lr,) = train(optimizer, params, 1, 4)
    slope = sum((p.grad * u).sum().item() for p, u in zip(params, moved, strict=True))
    assert lr == pytest.approx(adapted + 1e-4 * slope, rel=1e-12) != adapted
