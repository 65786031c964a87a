"""The lr as a number and as a tensor: whose it is, who reads it, where it is kept within bounds."""

from __future__ import annotations

import pytest
import torch
from optim_cases import CASES, HYPERGRADIENT, IMPLS, MAKES, assert_close, build, make_params, train

from hdsens.optim import group_per_tensor


@pytest.mark.parametrize("make", MAKES)
def test_groups_do_not_share_a_tensor_lr(make):
    lr = torch.tensor(0.01)
    params = make_params()
    optimizer = make(group_per_tensor(params), lr=lr, hypergrad_lr=1e-4)
    train(optimizer, params, 3)
    assert len({float(group["lr"]) for group in optimizer.param_groups}) == len(params)
    assert optimizer.defaults["lr"] == 0.01


@pytest.mark.parametrize("make", MAKES)
def test_a_float_lr_stays_a_float_and_a_tensor_lr_a_tensor(make):
    for lr, kind in ((0, float), (0.01, float), (torch.tensor(0.01), torch.Tensor)):
        params = make_params()
        optimizer = make(params, lr=lr, hypergrad_lr=1e-4)
        train(optimizer, params, 2)
        assert type(optimizer.param_groups[0]["lr"]) is kind


@pytest.mark.parametrize("extra", HYPERGRADIENT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_tensor_lr_is_never_read_by_the_host(case, extra):
    """On the meta device there is nothing to read, so a step that reads fails."""
    params = [torch.zeros(s, device="meta", requires_grad=True) for s in ((3, 4), (5,), ())]
    optimizer = build(case, params, lr=torch.tensor(0.01, device="meta"), **extra)
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert optimizer.param_groups[0]["lr"].device.type == "meta"
    assert optimizer.param_groups[0]["lr"].shape == ()


@pytest.mark.parametrize("make", MAKES)
def test_a_float_lr_on_a_device_is_read_once_a_step(make):
    """The guard for the test above: with a float lr the read happens, and meta refuses it."""
    params = [torch.zeros(3, device="meta", requires_grad=True)]
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-4)
    params[0].grad = torch.zeros_like(params[0])
    optimizer.step()
    with pytest.raises(RuntimeError, match="meta"):
        optimizer.step()


@pytest.mark.parametrize("make", MAKES)
def test_a_tensor_lr_may_have_one_dimension(make):
    params, others = make_params(), make_params()
    optimizer = make(params, lr=torch.tensor([0.01]), hypergrad_lr=1e-4)
    other = make(others, lr=torch.tensor(0.01), hypergrad_lr=1e-4)
    assert train(optimizer, params, 3) == train(other, others, 3)


@pytest.mark.parametrize(("case", "impl"), IMPLS, ids=str)
@pytest.mark.parametrize("extra", [{}, {"transition": (0.001, 2)}], ids=str)
def test_a_tensor_lr_with_one_dimension_may_be_assigned(case, impl, extra):
    params, others = make_params(), make_params()
    optimizer = build(case, params, **impl, **extra)
    other = build(case, others, **impl, **extra)
    optimizer.param_groups[0]["lr"] = torch.tensor([0.02])
    other.param_groups[0]["lr"] = torch.tensor(0.02)
    assert train(optimizer, params, 3) == train(other, others, 3)
    assert_close(params, others)


@pytest.mark.parametrize("make", MAKES)
def test_lr_bounds_hold_and_are_reached(make):
    for lr in (0.01, torch.tensor(0.01)):
        params = make_params()
        optimizer = make(params, lr=lr, hypergrad_lr=1.0, lr_bounds=(0.001, 0.02))
        lrs = train(optimizer, params, 20)
        assert all(0.001 <= x <= 0.02 + 1e-9 for x in lrs)
        assert max(lrs) == pytest.approx(0.02)


@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01)], ids=["float", "tensor"])
@pytest.mark.parametrize("make", MAKES)
def test_an_lr_that_falls_stops_at_its_lower_bound(make, lr):
    """A gradient that turns around at every step: each lowers lr, far below 0 without bounds."""
    lrs = {}
    for bounds in (None, (0.001, 0.02)):
        w = torch.zeros(3, requires_grad=True)
        optimizer = make([w], lr=lr, hypergrad_lr=1.0, lr_bounds=bounds)
        lrs[bounds] = []
        for step in range(6):
            w.grad = torch.full_like(w, (-1.0) ** step)
            optimizer.step()
            lrs[bounds].append(float(optimizer.param_groups[0]["lr"]))
    assert min(lrs[None]) < 0
    assert min(lrs[0.001, 0.02]) == lrs[0.001, 0.02][-1] == pytest.approx(0.001)


@pytest.mark.parametrize("lr", [0.001, 0.1, torch.tensor(0.001)], ids=str)
@pytest.mark.parametrize("make", MAKES)
def test_an_lr_outside_its_bounds_is_refused_on_either_side(make, lr):
    with pytest.raises(ValueError, match=r"lr must lie within lr_bounds \(0.01, 0.02\)"):
        make(make_params(), lr=lr, lr_bounds=(0.01, 0.02))


@pytest.mark.parametrize("make", MAKES)
def test_one_open_bound(make):
    params = make_params()
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-3, lr_bounds=(0.0, float("inf")))
    free = make_params()
    unbounded = make(free, lr=0.01, hypergrad_lr=1e-3)
    assert train(optimizer, params, 3) == train(unbounded, free, 3)
