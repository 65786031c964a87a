"""Saving, loading and copying: a run that was interrupted repeats one that was not."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from optim_cases import CASES, HYPERGRADIENT, give_grads, make_params, train

from hdsens.optim import SGDHD, AdamHD

EVERY = [(case, extra) for case in CASES for extra in HYPERGRADIENT]


def build(case, extra, params, **more):
    options = {"lr": 0.01, "hypergrad_lr": 1e-4, **case.options, **extra, **more}
    return case.make(params, **options)


def clones(params, dtype=None):
    return [p.detach().clone().to(dtype or p.dtype).requires_grad_() for p in params]


def through_torch_save(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_continue_alike(first, first_params, second, second_params, steps=4):
    assert train(first, first_params, steps, 5) == train(second, second_params, steps, 5)
    for a, b in zip(first_params, second_params, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01)], ids=["float", "tensor"])
@pytest.mark.parametrize(("case", "extra"), EVERY, ids=str)
def test_a_saved_state_continues_bit_for_bit(case, extra, lr):
    params = make_params()
    optimizer = build(case, extra, params, lr=lr)
    train(optimizer, params, 5)
    loaded = through_torch_save(optimizer.state_dict())
    others = clones(params)
    other = build(case, {}, others, lr=0.5 if not extra.get("lr_bounds") else 0.01)
    other.load_state_dict(loaded)
    assert_continue_alike(optimizer, params, other, others)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize(("case", "extra"), EVERY, ids=str)
def test_copies_continue_bit_for_bit_and_apart(case, extra, duplicate):
    params = make_params()
    optimizer = build(case, extra, params)
    train(optimizer, params, 5)
    other = duplicate(optimizer)
    others = other.param_groups[0]["params"]
    before = clones(others)
    train(optimizer, params, 1, 20)
    assert all(torch.equal(a, b) for a, b in zip(others, before, strict=True))
    rewound = duplicate(other)
    assert_continue_alike(other, others, rewound, rewound.param_groups[0]["params"])


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "lr", [0.01, torch.tensor(0.01), torch.tensor(0.01, dtype=torch.float64)], ids=str
)
def test_the_adapted_lr_survives_another_dtype_exactly(make, dtype, lr):
    params = make_params()
    optimizer = make(params, lr=lr, hypergrad_lr=1e-4)
    train(optimizer, params, 5)
    adapted = optimizer.param_groups[0]["lr"]
    others = clones(params, dtype)
    other = make(others, lr=0.7)
    other.load_state_dict(through_torch_save(optimizer.state_dict()))
    loaded = other.param_groups[0]["lr"]
    assert loaded == adapted
    assert loaded != 0.01
    assert type(loaded) is type(adapted)
    if isinstance(loaded, torch.Tensor):
        assert loaded.dtype == adapted.dtype
    for param, state in other.state.items():
        for name, value in state.items():
            assert name == "step" or value.dtype == param.dtype
    train(other, others, 2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_is_per_tensor_and_shares_no_memory(case):
    params = make_params()
    optimizer = build(case, {}, params)
    train(optimizer, params, 2)
    saved = optimizer.state_dict()
    pointers = []
    for index, param in enumerate(params):
        for name, value in saved["state"][index].items():
            if name != "step":
                assert value.shape == param.shape
                assert value.untyped_storage().nbytes() == value.numel() * value.element_size()
                pointers.append(value.data_ptr())
    assert len(set(pointers)) == len(pointers)
    snapshot = copy.deepcopy(saved)
    train(optimizer, params, 2)
    for index in saved["state"]:
        for name, value in saved["state"][index].items():
            assert torch.equal(value, snapshot["state"][index][name])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_pickle_is_no_larger_than_the_tensors(case):
    params = [torch.randn(1000, requires_grad=True) for _ in range(10)]
    optimizer = build(case, {}, params)
    train(optimizer, params, 1)
    kept = sum(v.numel() for state in optimizer.state.values() for v in state.values())
    assert len(pickle.dumps(optimizer)) < 4 * (kept + 10_000) + 40_000


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_a_state_from_before_an_option_existed_gets_its_default(make):
    params = make_params()
    optimizer = make(params, lr=0.01, hypergrad_lr=1e-4)
    train(optimizer, params, 3)
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        for name in ("rule", "transition", "lr_bounds", "maximize", "foreach", "differentiable"):
            del group[name]
    others = clones(params)
    other = make(others, lr=0.7)
    other.load_state_dict(saved)
    assert other.param_groups[0]["rule"] == "additive"
    assert_continue_alike(optimizer, params, other, others)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_run_of_torch_optim_can_be_taken_over(case):
    """At β = 0 the run that changes class in the middle is the run that does not."""
    params, others = make_params(), make_params()
    base = case.base(params, lr=0.01, **case.base_options)
    train(base, params, 4)
    first = case.base(others, lr=0.01, **case.base_options)
    train(first, others, 2)
    second = case.make(others, lr=0.5, hypergrad_lr=0, **case.options)
    state = first.state_dict()
    for group in state["param_groups"]:
        group["foreach"] = None
    second.load_state_dict(state)
    train(second, others, 2, start=2)
    for a, b in zip(params, others, strict=True):
        assert torch.equal(a, b)


def test_step_counts_saved_as_numbers_are_read():
    params = make_params()
    optimizer = AdamHD(params, lr=0.01, hypergrad_lr=1e-4)
    train(optimizer, params, 3)
    saved = optimizer.state_dict()
    for state in saved["state"].values():
        state["step"] = 3
    others = clones(params)
    other = AdamHD(others)
    other.load_state_dict(saved)
    assert_continue_alike(optimizer, params, other, others)


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_a_state_dict_is_a_snapshot(make):
    """A tensor lr and the transition's count change in place: not in what was saved before."""
    params = make_params()
    optimizer = make(params, lr=torch.tensor(0.01), hypergrad_lr=1e-4, transition=(1e-3, 2))
    train(optimizer, params, 3)
    saved = optimizer.state_dict()
    kept = copy.deepcopy(saved)
    train(optimizer, params, 3)
    (now,), (then,) = saved["param_groups"], kept["param_groups"]
    assert now["lr"] == then["lr"] != optimizer.param_groups[0]["lr"]
    assert now["transition_steps"] == 3


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_what_is_loaded_stays_as_it_is(make):
    """So one checkpoint can start several runs."""
    params = make_params()
    optimizer = make(params, lr=torch.tensor(0.01), hypergrad_lr=1e-4)
    train(optimizer, params, 3)
    loaded = through_torch_save(optimizer.state_dict())
    runs = []
    for _ in range(2):
        others = clones(params)
        other = make(others)
        other.load_state_dict(loaded)
        runs.append((train(other, others, 4, 3), others))
    (first, first_params), (second, second_params) = runs
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(first_params, second_params, strict=True))


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_numpy_numbers_are_saved_as_plain_ones(make):
    params = make_params()
    options = {"lr": np.float32(0.01), "hypergrad_lr": np.float64(1e-4)}
    optimizer = make(
        [{"params": params[:2]}, {"params": params[2:], "lr": np.float64(0.5)}], **options
    )
    train(optimizer, params, 2)
    other = make([{"params": g} for g in (params[:2], params[2:])])
    other.load_state_dict(through_torch_save(optimizer.state_dict()))
    assert other.param_groups[0]["hypergrad_lr"] == 1e-4
    assert other.param_groups[1]["lr"] == optimizer.param_groups[1]["lr"]


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_a_state_of_the_other_class_starts_afresh(make):
    params, others = make_params(), make_params()
    first = (AdamHD if make is SGDHD else SGDHD)(params, lr=0.01, hypergrad_lr=1e-4)
    train(first, params, 2)
    with torch.no_grad():
        for a, b in zip(params, others, strict=True):
            b.copy_(a)
    second = make(params)
    second.load_state_dict(first.state_dict())
    fresh = make(others, lr=second.param_groups[0]["lr"], hypergrad_lr=1e-4)
    assert_continue_alike(second, params, fresh, others)
    assert second.state[params[0]].keys() == fresh.state[others[0]].keys()


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_a_state_of_other_groups_is_refused(make):
    params = make_params()
    saved = make(params).state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        make([{"params": params[:2]}, {"params": params[2:]}]).load_state_dict(saved)
    with pytest.raises(ValueError, match="doesn't match the size"):
        make(params[:2]).load_state_dict(saved)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_clearing_or_replacing_state_is_noticed(case):
    """What a step remembers of its layout is checked against the state it finds."""
    params, others = make_params(torch.float64), make_params(torch.float64)
    optimizer, other = build(case, {}, params), build(case, {}, others)
    train(optimizer, params, 3)
    train(other, others, 3)
    for state in other.state.values():
        for name, value in state.items():
            state[name] = value.clone()
    assert train(optimizer, params, 3, 5) == pytest.approx(train(other, others, 3, 5), rel=1e-12)
    optimizer.state.clear()
    fresh_params = clones(params)
    fresh = build(case, {}, fresh_params, lr=optimizer.param_groups[0]["lr"])
    assert_continue_alike(optimizer, params, fresh, fresh_params, steps=3)


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_state_dict_and_load_hooks_run(make):
    params = make_params()
    optimizer = make(params)
    give_grads(params, 0)
    optimizer.step()
    calls = []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("pre"))
    optimizer.register_state_dict_post_hook(lambda o, s: calls.append("post"))
    optimizer.register_load_state_dict_pre_hook(lambda o, s: calls.append("load pre"))
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append("load post"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["pre", "post", "load pre", "load post"]
