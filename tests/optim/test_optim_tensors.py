"""Parameters and gradients of every dtype, shape and layout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_cases import (
    CASES,
    HYPERGRADIENT,
    IMPLS,
    MAKES,
    assert_close,
    build,
    give_grads,
    make_params,
    train,
    values,
)

from hdsens.optim import SGDHD, AdamHD


@pytest.mark.parametrize(("case", "impl"), IMPLS, ids=str)
def test_one_group_over_dtypes_is_one_dot_product(case, impl):
    """Half of the tensors in float32: the same lr as all in float64, to float32's rounding."""
    mixed, plain = make_params(torch.float64), make_params(torch.float64)
    mixed = [
        p.detach().to(torch.float32 if i % 2 else p.dtype).requires_grad_()
        for i, p in enumerate(mixed)
    ]
    optimizer, other = build(case, mixed, **impl), build(case, plain, **impl)
    lrs, expected = train(optimizer, mixed, 5), train(other, plain, 5)
    assert lrs == pytest.approx(expected, rel=1e-5)
    assert len(set(lrs)) == 5


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradients_are_measured_in_float32(make, foreach, dtype):
    """10,000 products of 2⁻¹⁶: their sum and even their size would be lost in half precision."""
    w = torch.zeros(10_000, dtype=dtype, requires_grad=True)
    options = {} if make is SGDHD else {"eps": 1.0, "betas": (0.0, 0.0)}
    optimizer = make([w], lr=0.0, hypergrad_lr=1.0, foreach=foreach, **options)
    for _ in range(2):
        w.grad = torch.full_like(w, 2.0**-8)
        optimizer.step()
    u = 2.0**-8 if make is SGDHD else 2.0**-8 / (2.0**-8 + 1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(10_000 * 2.0**-8 * u, rel=1e-3)


@pytest.mark.parametrize("make", MAKES)
def test_half_precision_products_do_not_overflow(make):
    w = torch.zeros(4, dtype=torch.float16, requires_grad=True)
    optimizer = (
        make([w], lr=0.0, hypergrad_lr=1e-9, eps=1.0)
        if make is AdamHD
        else make([w], lr=0.0, hypergrad_lr=1e-9)
    )
    for _ in range(2):
        w.grad = torch.full_like(w, 1000.0)
        optimizer.step()
    assert 0 < optimizer.param_groups[0]["lr"] < 1


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01)], ids=["float", "tensor"])
def test_a_dot_product_too_large_for_float32_moves_lr_by_what_is_finite(foreach, lr):
    """h = 2e40, of which the hypergradient step is 2e-3; and products that cancel: h = 0."""
    for size, signs, expected in (
        (1e20, [1.0, 1.0], 0.01 + 2e-3),
        (1e20, [1.0, -1.0], 0.01),
        (1.5e19, [1.0, 1.0], 0.01 + 4.5e-5),  # of two products, each of which float32 holds
    ):
        params = [torch.zeros(1, requires_grad=True) for _ in signs]
        optimizer = SGDHD(params, lr=lr, hypergrad_lr=1e-43, foreach=foreach)
        for step in range(2):
            for param, sign in zip(params, signs, strict=True):
                param.grad = torch.full_like(param, size * (sign if step else 1.0))
            optimizer.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", MAKES)
def test_norms_too_large_for_float32_have_their_cosine(make):
    weight = torch.zeros(4, requires_grad=True)
    optimizer = make([weight], lr=0.01, hypergrad_lr=0.1, rule="multiplicative")
    for _ in range(2):
        weight.grad = torch.full_like(weight, 1e19 if make is AdamHD else 1e25)
        optimizer.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.011, rel=1e-4)


@pytest.mark.skipif(not hasattr(torch.Tensor, "grad_dtype"), reason="older torch refuses it itself")
@pytest.mark.parametrize("make", MAKES)
def test_a_gradient_of_another_dtype(make):
    """Alone or among others, it counts as what it is in its parameter's dtype."""
    lrs = []
    for together in (True, False):
        params = [torch.ones(3, dtype=torch.bfloat16, requires_grad=True) for _ in range(2)]
        for p in params:
            p.grad_dtype = None
        optimizer = make(params, lr=0.01, hypergrad_lr=1e-3, foreach=together)
        for step in range(3):
            for p in params:
                p.grad = torch.full((3,), 1.25 + step)
            optimizer.step()
        lrs.append(optimizer.param_groups[0]["lr"])
    assert lrs[0] == pytest.approx(lrs[1], rel=1e-6) != 0.01


WAYS = [(make, {"foreach": foreach}) for make in MAKES for foreach in (False, True)]
WAYS.append((AdamHD, {"fused": True}))


@pytest.mark.parametrize(("make", "way"), WAYS)
def test_a_gradient_laid_out_unlike_its_parameter(make, way):
    """An expanded gradient and a transposed one give what their contiguous copies give."""
    mine = [torch.ones(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    plain = [p.detach().clone().requires_grad_() for p in mine]
    optimizer = make(mine, hypergrad_lr=1e-2, **way)
    other = make(plain, hypergrad_lr=1e-2, **way)
    for step in range(4):
        row = torch.arange(3, dtype=torch.float64) + step
        mine[0].grad = row.expand(4, 3)
        mine[1].grad = (torch.arange(12, dtype=torch.float64) * (step + 1)).view(3, 4).t()
        for a, b in zip(mine, plain, strict=True):
            b.grad = a.grad.contiguous()
        optimizer.step()
        other.step()
    assert optimizer.param_groups[0]["lr"] == other.param_groups[0]["lr"]
    assert_close(mine, plain)


@pytest.mark.parametrize(("make", "way"), WAYS)
def test_a_model_that_turns_channels_last_in_mid_training(make, way):
    """Its state keeps the old layout, and the numbers are those of a model that did not turn."""
    mine, plain = make_params(torch.float64), make_params(torch.float64)
    mine[3].data = mine[3].detach().contiguous()
    optimizer = make(mine, lr=0.01, hypergrad_lr=1e-4, **way)
    other = make(plain, lr=0.01, hypergrad_lr=1e-4, **way)
    expected = train(other, plain, 6)
    lrs = train(optimizer, mine, 3)
    mine[3].data = mine[3].detach().contiguous(memory_format=torch.channels_last)
    lrs += train(optimizer, mine, 3, 3)
    assert lrs == pytest.approx(expected, rel=1e-12)
    assert_close(mine, plain)


@pytest.mark.parametrize(("make", "way"), WAYS)
def test_a_parameter_that_is_a_strided_view(make, way):
    base = torch.arange(24, dtype=torch.float64).reshape(6, 4)
    view = base[::2, ::2].requires_grad_()
    plain = view.detach().contiguous().requires_grad_()
    optimizer = make([view], hypergrad_lr=1e-3, **way)
    other = make([plain], hypergrad_lr=1e-3, **way)
    assert train(optimizer, [view], 4) == pytest.approx(train(other, [plain], 4), rel=1e-12)
    assert_close([view], [plain])
    assert base[1, 1] == 5


SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    case=st.sampled_from(CASES),
    extra=st.sampled_from(HYPERGRADIENT),
    shapes=SHAPES,
    dtypes=st.lists(st.sampled_from([torch.float32, torch.float64]), min_size=6, max_size=6),
    cuts=st.lists(st.booleans(), min_size=6, max_size=6),
    present=st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=4, max_size=4),
)
def test_lists_and_loops_agree_whatever_the_shapes_dtypes_and_groups(
    case, extra, shapes, dtypes, cuts, present
):
    finals = []
    for impl in ({"foreach": False}, {"foreach": True}):
        generator = torch.Generator().manual_seed(5)
        params = [
            torch.randn(s, generator=generator).to(d).requires_grad_()
            for s, d in zip(shapes, dtypes, strict=False)
        ]
        groups = [[params[0]]]
        for param, cut in zip(params[1:], cuts, strict=False):
            if cut:
                groups.append([])
            groups[-1].append(param)
        optimizer = build(case, [{"params": g} for g in groups], **extra, **impl)
        for step, here in enumerate(present):
            give_grads(params, step)
            for param, keep in zip(params, here, strict=False):
                param.grad = param.grad if keep else None
            optimizer.step()
        finals.append((values(params), [group["lr"] for group in optimizer.param_groups]))
    (first, first_lrs), (second, second_lrs) = finals
    assert first_lrs == pytest.approx(second_lrs, rel=1e-5)
    assert_close(first, second, rtol=1e-4)
