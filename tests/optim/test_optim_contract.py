"""What every torch.optim optimizer does, over every case."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_cases import CASES, HYPERGRADIENT, give_grads, make_params, train

from hdsens.optim import SGDHD, AdamHD, group_per_tensor, workspace

MAKES = [SGDHD, AdamHD]
IMPLS = [(case, impl) for case in CASES for impl in case.impls]


def build(case, params, **more):
    return case.make(params, **{"lr": 0.01, "hypergrad_lr": 1e-4, **case.options, **more})


def values(params):
    return [p.detach().clone() for p in params]


def assert_close(first, second, rtol=1e-11):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=1e-13)


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
def test_a_tensor_lr_may_have_one_dimension(make):
    params, others = make_params(), make_params()
    optimizer = make(params, lr=torch.tensor([0.01]), hypergrad_lr=1e-4)
    other = make(others, lr=torch.tensor(0.01), hypergrad_lr=1e-4)
    assert train(optimizer, params, 3) == train(other, others, 3)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "maximize": True}], ids=str)
def test_off_the_cpu_a_step_keeps_nothing_but_state(make, options):
    """Bytes alive on the meta device, before the first step and after the third."""
    params = [torch.zeros(1000, device="meta", requires_grad=True) for _ in range(4)]
    optimizer = make(params, lr=torch.tensor(0.1, device="meta"), **options)
    before = meta_bytes()
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    optimizer.zero_grad()
    copies = 1 if make is SGDHD else 2
    assert meta_bytes() - before == pytest.approx(4 * 4000 * copies, abs=100)


def meta_bytes():
    gc.collect()
    tensors = [x for x in gc.get_objects() if type(x) in (torch.Tensor, torch.nn.Parameter)]
    storages = [x.untyped_storage() for x in tensors if x.device.type == "meta"]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


@pytest.mark.parametrize("make", MAKES)
def test_the_default_device_does_not_matter(make):
    options = {"weight_decay": 0.1, "maximize": True, "transition": (0.001, 2)}
    params, others = make_params(), make_params()
    expected = train(make(others, lr=0.01, hypergrad_lr=1e-4, **options), others, 3)
    workspace._kept.buffers.clear()
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-4, **options)
    for step in range(3):
        give_grads(params, step)
        with torch.device("meta"):
            optimizer.step()
        assert optimizer.param_groups[0]["lr"] == expected[step]
    assert all(a.equal(b) for a, b in zip(params, others, strict=True))


@pytest.mark.parametrize("make", MAKES)
def test_a_step_in_inference_mode_leaves_later_steps_alone(make):
    """What a thread keeps from step to step serves both."""
    options = {"lr": 0.01, "hypergrad_lr": 1e-4, "weight_decay": 0.1, "maximize": True}
    workspace._kept.buffers.clear()
    with torch.inference_mode():
        frozen = [torch.ones(3)]
        train(make(frozen, **options), frozen, 2)
    params, others = make_params(), make_params()
    optimizer, other = make(params, **options), make(others, **options)
    assert train(optimizer, params, 3) == train(other, others, 3)


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
def test_lr_bounds_hold_and_are_reached(make):
    for lr in (0.01, torch.tensor(0.01)):
        params = make_params()
        optimizer = make(params, lr=lr, hypergrad_lr=1.0, lr_bounds=(0.001, 0.02))
        lrs = train(optimizer, params, 20)
        assert all(0.001 <= x <= 0.02 + 1e-9 for x in lrs)
        assert max(lrs) == pytest.approx(0.02)


@pytest.mark.parametrize("make", MAKES)
def test_one_open_bound(make):
    params = make_params()
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-3, lr_bounds=(0.0, float("inf")))
    free = make_params()
    unbounded = make(free, lr=0.01, hypergrad_lr=1e-3)
    assert train(optimizer, params, 3) == train(unbounded, free, 3)


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


@pytest.mark.parametrize("make", MAKES)
def test_an_optimizer_is_freed_with_its_last_reference(make):
    params = make_params()
    optimizer = make(params, hypergrad_lr=1e-4)
    train(optimizer, params, 3)
    gone = weakref.ref(optimizer)
    gc.collect()
    gc.disable()
    try:
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("make", MAKES)
def test_memory_is_one_copy_of_the_gradient_beyond_the_base(make):
    params = [torch.randn(100_000, requires_grad=True) for _ in range(4)]
    for options, copies in (
        ({}, 1),
        ({"momentum": 0.9}, 1),
        ({"momentum": 0.9, "nesterov": True}, 2),
    ):
        if make is AdamHD and options:
            continue
        optimizer = make(params, hypergrad_lr=1e-4, **options)
        train(optimizer, params, 2)
        kept = sum(v.numel() for s in optimizer.state.values() for k, v in s.items() if k != "step")
        assert kept == (2 if make is AdamHD else copies) * 400_000


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("make", MAKES)
def test_a_gradient_laid_out_unlike_its_parameter(make, foreach):
    """An expanded gradient and a transposed one give what their contiguous copies give."""
    mine = [torch.ones(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    plain = [p.detach().clone().requires_grad_() for p in mine]
    optimizer = make(mine, hypergrad_lr=1e-2, foreach=foreach)
    other = make(plain, hypergrad_lr=1e-2, foreach=foreach)
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


@pytest.mark.parametrize("make", MAKES)
def test_a_parameter_that_is_a_strided_view(make):
    base = torch.arange(24, dtype=torch.float64).reshape(6, 4)
    view = base[::2, ::2].requires_grad_()
    plain = view.detach().contiguous().requires_grad_()
    optimizer, other = make([view], hypergrad_lr=1e-3), make([plain], hypergrad_lr=1e-3)
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
