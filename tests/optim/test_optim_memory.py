"""What a step keeps, and what it leaves behind for the next."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from optim_cases import MAKES, give_grads, make_params, train

from hdsens.optim import SGDHD, AdamHD, workspace


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
