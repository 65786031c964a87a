"""A scheduler that overwrites the learned lr is told of, once; one that keeps it never is."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from optim_cases import MAKES, give_grads, make_params
from test_optim_schedulers import SCHEDULERS, documented
from torch.optim import lr_scheduler as schedulers

from hdsens.optim import keep_lr

WARNING = (
    "{}: lr must be left as step() leaves it, or scaled from there (in 10 steps in a row "
    "a scheduler put it back to its own schedule, so that nothing is learned); use "
    "hdsens.optim.keep_lr(optimizer) as the scheduler, or one that docs/optimizers.md lists as "
    "keeping lr"
)
LRS = [0.01, torch.tensor(0.01), torch.tensor(0.01, dtype=torch.float64)]
LR_IDS = ["float", "tensor", "double"]

# get_scheduler of transformers 5: constant, linear (its default), cosine
OVERWRITING = {
    "constant": lambda t: 1.0,
    "linear": lambda t: max(0.0, 1 - t / 300),
    "warmup and linear": lambda t: t / 20 if t < 20 else max(0.0, 1 - (t - 20) / 300),
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t / 300)),
    "exponential": lambda t: 0.99**t,
}


def noisy_grads(params, step):
    """A slope that stays, and the noise of minibatches."""
    generator = torch.Generator().manual_seed(step)
    for param in params:
        noise = torch.randn(param.shape, generator=generator)
        param.grad = (0.5 + noise).to(param.dtype)


def run(optimizer, schedule, params, steps=60, grads=noisy_grads, start=0):
    """Messages of the warnings given, each with the number of its step from 1 on."""
    told = []
    for step in range(start, start + steps):
        grads(params, step)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer.step()
        told += [(step + 1, str(warning.message)) for warning in caught]
        if isinstance(schedule, schedulers.ReduceLROnPlateau):
            schedule.step(1.0)
        elif schedule is not None:
            schedule.step()
    return told


def built(make, lr=0.01, share=0.05, **options):
    """An optimizer whose hypergradient descent moves lr by about `share` of itself a step."""
    params = make_params()
    slope = 40 if make is MAKES[0] else 60  # g·u of noisy_grads, of both sizes
    options = {"hypergrad_lr": share * 0.01 / slope, **options}
    return make(params, lr=lr, **options), params


@pytest.mark.parametrize("lr", LRS, ids=LR_IDS)
@pytest.mark.parametrize("name", OVERWRITING)
@pytest.mark.parametrize("make", MAKES)
def test_a_schedule_that_overwrites_lr_is_told_once(make, name, lr):
    optimizer, params = built(make, lr)
    told = run(optimizer, schedulers.LambdaLR(optimizer, OVERWRITING[name]), params, 150)
    assert [message for _, message in told] == [WARNING.format(make.__name__)]


@pytest.mark.parametrize("rule", ["additive", "multiplicative"])
@pytest.mark.parametrize("make", MAKES)
def test_it_is_told_at_the_first_step_that_can_know(make, rule):
    """The first step moves nothing; ten do; the next one finds the tenth put back.

    With gradients that never change, too, and from lr = 0, which has no logarithm.
    """
    for grads in (noisy_grads, lambda params, step: give_grads(params, 0)):
        optimizer, params = built(make, rule=rule, hypergrad_lr=1e-4)
        constant = schedulers.LambdaLR(optimizer, OVERWRITING["constant"])
        assert [step for step, _ in run(optimizer, constant, params, grads=grads)] == [12]
    if rule == "additive":
        optimizer, params = built(make, lr=0.0, hypergrad_lr=1e-4)
        constant = schedulers.LambdaLR(optimizer, OVERWRITING["constant"])
        assert [step for step, _ in run(optimizer, constant, params)] == [12]


KEEPING = [name for name in SCHEDULERS if name in documented("keep")]
MORE = {
    "none": lambda o: None,
    "keep_lr": keep_lr,
    "slow exponential": lambda o: schedulers.ExponentialLR(o, 0.99),
    "slow linear": lambda o: schedulers.LinearLR(o, 1.0, 0.1, 60),
    "slow cosine": lambda o: schedulers.CosineAnnealingLR(o, 60),
    "slow polynomial": lambda o: schedulers.PolynomialLR(o, 60, power=2),
    "uneven": lambda o: schedulers.MultiplicativeLR(o, lambda t: 0.95 if t % 2 else 1.05),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, factor=0.97, patience=0),
    "chained": lambda o: schedulers.ChainedScheduler(
        [schedulers.ExponentialLR(o, 0.98), schedulers.LinearLR(o, 0.1, total_iters=30)]
    ),
}


@pytest.mark.parametrize("name", [*KEEPING, *MORE])
@pytest.mark.parametrize("make", MAKES)
def test_a_schedule_that_keeps_lr_is_never_told_of(make, name):
    """Hypergradients with noise and without, that move lr by 10%, 1% and 0.01% of itself."""
    for share, lr in ((0.1, 0.01), (0.01, torch.tensor(0.01)), (1e-4, 0.01)):
        for grads in (noisy_grads, lambda params, step: give_grads(params, 0)):
            optimizer, params = built(make, lr, share)
            schedule = {**SCHEDULERS, **MORE}[name](optimizer)
            assert run(optimizer, schedule, params, 60, grads) == []


@pytest.mark.parametrize("make", MAKES)
def test_schedules_by_the_epoch_leave_the_steps_between_alone(make):
    optimizer, params = built(make)
    schedule = schedulers.LambdaLR(optimizer, OVERWRITING["constant"])
    for epoch in range(4):
        assert run(optimizer, None, params, 8, start=8 * epoch) == []
        schedule.step()


@pytest.mark.parametrize("make", MAKES)
def test_loading_a_state_again_and_again_is_not_told_of(make):
    optimizer, params = built(make)
    run(optimizer, None, params, 6)
    saved = copy.deepcopy(optimizer.state_dict())
    for step in range(6, 40):
        assert run(optimizer, None, params, 1, start=step) == []
        optimizer.load_state_dict(saved)


@pytest.mark.parametrize("make", MAKES)
def test_a_group_just_added_is_followed_from_its_own_first_step(make):
    optimizer, params = built(make)
    run(optimizer, None, params, 6)
    more = make_params(seed=1)
    optimizer.add_param_group({"params": more})
    told = []
    for step in range(6, 24):
        told += run(optimizer, None, [*params, *more], 1, start=step)
        optimizer.param_groups[1]["lr"] = 0.01
    assert [step for step, _ in told] == [18]  # steps 7, then 8 to 17, then 18


@pytest.mark.parametrize("lr", LRS, ids=LR_IDS)
@pytest.mark.parametrize("make", MAKES)
def test_a_resumed_run_is_told_at_the_step_of_one_that_was_not_interrupted(make, lr, tmp_path):
    optimizer, params = built(make, lr)
    schedule = schedulers.LambdaLR(optimizer, OVERWRITING["constant"])
    assert run(optimizer, schedule, params, 7) == []
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    other, others = built(make, 0.5)
    constant = schedulers.LambdaLR(other, OVERWRITING["constant"])
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    constant.load_state_dict(schedule.state_dict())
    assert [step for step, _ in run(other, constant, others, start=7)] == [12]


@pytest.mark.parametrize("make", MAKES)
def test_it_is_told_again_by_a_run_that_goes_on_and_once_for_many_groups(make):
    params = make_params()
    optimizer = make([{"params": [p]} for p in params], lr=0.01, hypergrad_lr=1e-4)
    schedule = schedulers.LambdaLR(optimizer, OVERWRITING["constant"])
    assert len(run(optimizer, schedule, params)) == 1
    optimizer.load_state_dict(optimizer.state_dict())
    assert len(run(optimizer, schedule, params)) == 1


@pytest.mark.parametrize("make", MAKES)
def test_following_a_tensor_lr_reads_nothing_from_its_device(make):
    """On the meta device there is nothing to read, so a step that reads fails."""
    params = [torch.zeros(3, device="meta", requires_grad=True)]
    optimizer = make(params, lr=torch.tensor(0.01, device="meta"), hypergrad_lr=1e-3)
    for _ in range(25):
        params[0].grad = torch.zeros_like(params[0])
        optimizer.step()
    assert optimizer.param_groups[0]["lr_trail"]


@pytest.mark.parametrize("lr", LRS, ids=LR_IDS)
@pytest.mark.parametrize("make", MAKES)
def test_keep_lr_is_no_scheduler_at_all(make, lr):
    """The same lr, bit for bit; and it is what a trainer logs and saves."""
    optimizer, params = built(make, lr)
    other, others = built(make, lr)
    schedule = keep_lr(optimizer)
    run(optimizer, schedule, params, 20)
    run(other, None, others, 20)
    (group,), (plain,) = optimizer.param_groups, other.param_groups
    assert group["lr"] == plain["lr"] != 0.01
    assert schedule.get_last_lr() == [group["lr"]]
    loaded = keep_lr(optimizer)
    loaded.load_state_dict(schedule.state_dict())
    assert group["lr"] == plain["lr"]
