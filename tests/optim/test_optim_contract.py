"""What every torch.optim optimizer does, over every case."""

from __future__ import annotations

import pytest
import torch
from optim_cases import CASES, IMPLS, MAKES, build, give_grads, make_params, train, values


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_loss_goes_in_the_right_direction(case):
    """Downhill, or uphill when maximizing, on a least-squares problem."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(20, 5, generator=generator)
    y = torch.randn(20, generator=generator)
    w = torch.zeros(5, requires_grad=True)
    optimizer = build(case, [w], lr=0.001)
    sign = -1 if case.options.get("maximize") else 1
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = sign * ((x @ w - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(sign * loss.item() if sign == 1 else loss.item())
    assert (losses[-1] < losses[0]) == (sign == 1)
    assert losses[-1] != losses[0]


@pytest.mark.parametrize("make", MAKES)
def test_the_closure_is_called_with_grad_and_its_value_returned(make):
    w = torch.ones(3, requires_grad=True)
    optimizer = make([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 3.0
    assert (w != 1).all()
    assert optimizer.step() is None


@pytest.mark.parametrize(("case", "impl"), IMPLS, ids=str)
def test_gradients_and_the_callers_options_stay_as_they_are(case, impl):
    lr = torch.tensor(0.01)
    params = make_params()
    group = {"params": params, "lr": lr}
    before = dict(group)
    optimizer = build(case, [group], **impl)
    for step in range(3):
        give_grads(params, step)
        given_grads = [p.grad for p in params]
        copies = [g.clone() for g in given_grads]
        optimizer.step()
        for p, g, c in zip(params, given_grads, copies, strict=True):
            assert p.grad is g
            assert torch.equal(g, c)
    assert lr == torch.tensor(0.01)
    assert group == before
    assert group["lr"] is lr
    assert optimizer.param_groups[0]["lr"] != lr


@pytest.mark.parametrize(("case", "impl"), IMPLS, ids=str)
def test_parameters_without_grad_are_left_alone(case, impl):
    params = make_params()
    optimizer = build(case, params, **impl)
    before = values(params)
    optimizer.step()
    assert not optimizer.state
    give_grads(params, 0)
    params[1].grad = None
    optimizer.step()
    assert torch.equal(params[1], before[1])
    assert params[1] not in optimizer.state
    assert not torch.equal(params[0], before[0])


@pytest.mark.parametrize("make", MAKES)
def test_groups_may_differ_in_every_option(make):
    """Groups adapt apart: each does what it does alone."""
    options = [
        {"lr": 0.01, "hypergrad_lr": 1e-4},
        {"lr": 0.0, "hypergrad_lr": 1e-3, "weight_decay": 0.1},
        {"lr": 0.02, "hypergrad_lr": 0.1, "rule": "multiplicative", "maximize": True},
    ]
    params = make_params(torch.float64, odd=False)
    groups = [{"params": [p], **o} for p, o in zip(params, options, strict=True)]
    optimizer = make(groups)
    for step in range(8):
        give_grads(params, step)
        optimizer.step()
    for i, own in enumerate(options):
        alone = make_params(torch.float64, odd=False)
        single = make([alone[i]], **own)
        for step in range(8):
            give_grads(alone, step)
            single.step()
        assert single.param_groups[0]["lr"] == optimizer.param_groups[i]["lr"] != own["lr"]
        assert torch.equal(alone[i], params[i])


@pytest.mark.parametrize(("case", "impl"), IMPLS, ids=str)
def test_a_group_added_in_mid_training_starts_from_the_given_lr(case, impl):
    params = make_params(torch.float64)
    optimizer = build(case, params[:2], **impl)
    train(optimizer, params[:2], 4)
    optimizer.add_param_group({"params": params[2:]})
    assert optimizer.param_groups[1]["lr"] == 0.01
    give_grads(params, 4)
    optimizer.step()
    assert optimizer.param_groups[1]["lr"] == 0.01  # u_0 = 0
    give_grads(params, 5)
    optimizer.step()
    assert optimizer.param_groups[1]["lr"] != 0.01


@pytest.mark.parametrize("make", MAKES)
def test_hooks_run_around_a_step(make):
    params = make_params()
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-4)
    seen = []
    optimizer.register_step_pre_hook(lambda o, a, k: seen.append(("pre", o.param_groups[0]["lr"])))
    optimizer.register_step_post_hook(
        lambda o, a, k: seen.append(("post", o.param_groups[0]["lr"]))
    )
    train(optimizer, params, 2)
    assert [name for name, _ in seen] == ["pre", "post"] * 2
    assert seen[2][1] == 0.01 != seen[3][1]


@pytest.mark.parametrize("make", MAKES)
def test_the_lr_is_printed(make):
    optimizer = make(make_params(), lr=0.125)
    assert "lr: 0.125" in repr(optimizer)
    assert "hypergrad_lr" in repr(optimizer)


@pytest.mark.parametrize("make", MAKES)
def test_named_parameters_keep_their_names(make):
    model = torch.nn.Linear(2, 1)
    optimizer = make(model.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
