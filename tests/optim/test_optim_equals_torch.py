"""At hypergrad_lr = 0 the bits are torch.optim's; between implementations they agree."""

from __future__ import annotations

import pytest
import torch
from optim_cases import CASES, HYPERGRADIENT, give_grads, make_params, train

from hdsens.optim import SGDHD, AdamHD
from hdsens.optim.workspace import CPU_PIECE


def bits(params):
    return [p.detach() for p in params]


def assert_same_bits(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b), (a - b).abs().max()


IMPLS = [(case, impl) for case in CASES for impl in case.impls]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("case", "impl"), IMPLS, ids=lambda x: str(x))
def test_zero_hypergrad_lr_gives_torchs_bits(case, impl, dtype):
    ours, theirs = make_params(dtype), make_params(dtype)
    mine = case.make(ours, lr=0.01, hypergrad_lr=0, **case.options, **impl)
    base = case.base(theirs, lr=0.01, **case.base_options, **impl)
    assert set(train(mine, ours, 6)) == {0.01}
    train(base, theirs, 6)
    assert_same_bits(bits(ours), bits(theirs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("case", "impl"), IMPLS, ids=lambda x: str(x))
def test_zero_hypergrad_lr_in_half_precision_is_torchs_to_its_rounding(case, impl, dtype):
    ours, theirs = make_params(dtype), make_params(dtype)
    impl = impl if case.make is SGDHD else {**impl, "eps": 1e-3}  # 1e-8 is 0 in half precision
    mine = case.make(ours, lr=0.01, hypergrad_lr=0, **{**case.options, **impl})
    train(mine, ours, 6)
    train(case.base(theirs, lr=0.01, **{**case.base_options, **impl}), theirs, 6)
    for a, b in zip(bits(ours), bits(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_zero_hypergrad_lr_gives_torchs_bits_by_default(case):
    ours, theirs = make_params(), make_params()
    mine = case.make(ours, lr=0.01, hypergrad_lr=0, **case.options)
    train(mine, ours, 6)
    train(case.base(theirs, lr=0.01, **case.base_options), theirs, 6)
    assert_same_bits(bits(ours), bits(theirs))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_zero_hypergrad_lr_follows_a_scheduler_bit_for_bit(case):
    ours, theirs = make_params(), make_params()
    mine = case.make(ours, lr=0.01, hypergrad_lr=0, **case.options)
    base = case.base(theirs, lr=0.01, **case.base_options)
    for optimizer, params in ((mine, ours), (base, theirs)):
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        for step in range(8):
            train(optimizer, params, 1, start=step)
            scheduler.step()
    assert_same_bits(bits(ours), bits(theirs))


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
@pytest.mark.parametrize("numel", [CPU_PIECE - 1, CPU_PIECE, 2 * CPU_PIECE + 17])
def test_long_tensors_are_cut_without_a_trace(make, numel):
    """Longer than one piece: the same bits as torch.optim at 0, the same lr as in one piece."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(numel, generator=generator, dtype=torch.float64)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    mine = make([ours], lr=0.01, hypergrad_lr=0, weight_decay=0.1)
    base = (torch.optim.SGD if make is SGDHD else torch.optim.Adam)(
        [theirs], 0.01, weight_decay=0.1
    )
    train(mine, [ours], 2)
    train(base, [theirs], 2)
    assert torch.equal(ours.detach(), theirs.detach())

    adapted = make([ours], lr=0.01, hypergrad_lr=1e-9)
    lrs = train(adapted, [ours], 2)
    halves = [h.detach().clone().requires_grad_() for h in theirs.detach().split(numel // 2 + 1)]
    in_two = make(halves, lr=0.01, hypergrad_lr=1e-9)
    for step in range(2):
        give_grads([theirs], step)
        for half, grad in zip(halves, theirs.grad.split(numel // 2 + 1), strict=True):
            half.grad = grad.clone()
        in_two.step()
        with torch.no_grad():
            theirs.copy_(torch.cat([h.detach() for h in halves]))
    assert in_two.param_groups[0]["lr"] == pytest.approx(lrs[-1], rel=1e-12)
    assert lrs[-1] != 0.01


@pytest.mark.parametrize("extra", HYPERGRADIENT, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_implementations_agree(case, extra):
    runs = []
    for impl in case.impls:
        params = make_params(torch.float64)
        optimizer = case.make(params, lr=0.01, hypergrad_lr=1e-4, **case.options, **extra, **impl)
        runs.append((train(optimizer, params, 12), bits(params)))
    lrs, params = runs[0]
    assert len(set(lrs)) > 1
    for other_lrs, other_params in runs[1:]:
        assert other_lrs == pytest.approx(lrs, rel=1e-12)
        for a, b in zip(params, other_params, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
