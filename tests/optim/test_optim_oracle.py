"""SGDHD and AdamHD against the plain NumPy version, and by hand."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from optim_problems import PROBLEMS
from optim_reference import ReferenceGroup

from hdsens.optim import SGDHD, AdamHD, group_per_tensor

STEPS = 1000

SGD_CASES = {
    "sgd": {"lr": 0.01, "hypergrad_lr": 1e-3},
    "from_zero": {"lr": 0.0, "hypergrad_lr": 1e-3},
    "l2": {"lr": 0.02, "hypergrad_lr": 1e-3, "weight_decay": 0.01},
    "momentum": {"lr": 0.005, "hypergrad_lr": 1e-5, "momentum": 0.9},
    "dampened": {"lr": 0.01, "hypergrad_lr": 1e-4, "momentum": 0.8, "dampening": 0.3},
    "nesterov": {
        "lr": 0.005,
        "hypergrad_lr": 1e-5,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-3,
    },
    "multiplicative": {"lr": 0.01, "hypergrad_lr": 1e-3, "rule": "multiplicative"},
    "transition": {"lr": 0.05, "hypergrad_lr": 1e-3, "transition": (0.01, 2)},
    "slow_transition": {
        "lr": 0.05,
        "hypergrad_lr": 1e-4,
        "transition": (0.02, 0.5),
        "momentum": 0.5,
    },
    "bounds": {"lr": 0.01, "hypergrad_lr": 1e-2, "lr_bounds": (0.005, 0.02)},
}
ADAM_CASES = {
    "adam": {"lr": 1e-3, "hypergrad_lr": 1e-6},
    "from_zero": {"lr": 0.0, "hypergrad_lr": 1e-5},
    "l2": {"lr": 1e-3, "hypergrad_lr": 1e-6, "weight_decay": 0.01},
    "decoupled": {
        "lr": 1e-3,
        "hypergrad_lr": 1e-6,
        "weight_decay": 0.1,
        "decoupled_weight_decay": True,
    },
    "amsgrad": {"lr": 2e-3, "hypergrad_lr": 1e-6, "amsgrad": True, "betas": (0.8, 0.95)},
    "eps": {"lr": 1e-2, "hypergrad_lr": 1e-5, "eps": 1e-2},
    "multiplicative": {"lr": 1e-3, "hypergrad_lr": 1e-3, "rule": "multiplicative"},
    "transition": {"lr": 1e-2, "hypergrad_lr": 1e-5, "transition": (1e-3, 1)},
    "bounds": {"lr": 1e-3, "hypergrad_lr": 1e-3, "lr_bounds": (1e-4, 2e-3)},
}
CASES = [("sgd", n) for n in SGD_CASES] + [("adam", n) for n in ADAM_CASES]
LAYOUTS = {"one_group": [4], "two_groups": [1, 3], "per_tensor": [1, 1, 1, 1]}


def options_of(algorithm, name):
    return (SGD_CASES if algorithm == "sgd" else ADAM_CASES)[name]


def split(values, layout):
    """`values` cut into groups of the layout's sizes; empty groups are left out."""
    ends = np.cumsum(layout)
    cut = [values[end - size : end] for end, size in zip(ends, layout, strict=True)]
    return [part for part in cut if part]


def run_both(algorithm, problem, layout, options, steps=STEPS, **ours):
    """Trajectories of lr, (steps, groups), and the last parameters: ours, the reference's."""
    start, gradients = PROBLEMS[problem](np.random.default_rng(7))
    tensors = [torch.tensor(p, requires_grad=True) for p in start]
    make = SGDHD if algorithm == "sgd" else AdamHD
    optimizer = make([{"params": g} for g in split(tensors, layout)], **options, **ours)
    reference = [ReferenceGroup(g, algorithm, **options) for g in split(start, layout)]
    lrs, expected_lrs = [], []
    for _ in range(steps):
        for tensor, grad in zip(
            tensors, gradients([t.detach().numpy() for t in tensors]), strict=True
        ):
            tensor.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        lrs.append([float(group["lr"]) for group in optimizer.param_groups])
        grads = gradients([p for group in reference for p in group.params])
        for group, part in zip(reference, split(grads, layout), strict=True):
            group.step(part)
        expected_lrs.append([group.lr for group in reference])
    last = np.concatenate([t.detach().numpy().ravel() for t in tensors])
    expected = np.concatenate([p.ravel() for group in reference for p in group.params])
    return np.array(lrs), last, np.array(expected_lrs), expected


def assert_agree(result, rtol=1e-12):
    lrs, last, expected_lrs, expected = result
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(lrs, expected_lrs, rtol=0, atol=rtol * np.abs(expected_lrs).max())
    np.testing.assert_allclose(last, expected, rtol=0, atol=rtol * np.abs(expected).max())


LONG = [(*case, problem) for case, problem in zip(CASES, cycle(PROBLEMS), strict=False)]


@pytest.mark.parametrize(("algorithm", "case", "problem"), LONG)
def test_agrees_with_numpy_over_1000_steps(algorithm, case, problem):
    """Each case on one of the problems in turn; the tests below have each on the last of them."""
    options = options_of(algorithm, case)
    result = run_both(algorithm, problem, LAYOUTS["one_group"], options)
    assert_agree(result)
    lrs = result[0]
    assert lrs[0, 0] == options["lr"]  # u_0 = 0
    assert np.ptp(lrs) > 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("algorithm", "case"), [("sgd", "nesterov"), ("adam", "l2")])
def test_agrees_on_an_mlp_whatever_the_groups(algorithm, case, layout):
    options = options_of(algorithm, case)
    assert_agree(run_both(algorithm, "mlp", LAYOUTS[layout], options, steps=100))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(("algorithm", "case"), CASES)
def test_both_implementations_agree_with_numpy(algorithm, case, foreach):
    options = options_of(algorithm, case)
    assert_agree(run_both(algorithm, "mlp", [4], options, steps=100, foreach=foreach))


@pytest.mark.parametrize("case", ADAM_CASES)
def test_the_fused_kernel_agrees_with_numpy(case):
    assert_agree(run_both("adam", "mlp", [4], ADAM_CASES[case], steps=300, fused=True))


@pytest.mark.parametrize(("algorithm", "case"), CASES)
def test_a_tensor_lr_agrees_with_numpy(algorithm, case):
    options = options_of(algorithm, case)
    options = {**options, "lr": torch.tensor(options["lr"], dtype=torch.float64)}
    assert_agree(run_both(algorithm, "logistic", [4], options, steps=200))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(("algorithm", "case"), CASES)
def test_a_tensor_without_gradient_has_direction_zero(algorithm, case, foreach):
    """What a step leaves alone adds nothing to the next dot product, and keeps its moments."""
    rng = np.random.default_rng(11)
    start, gradients = PROBLEMS["mlp"](rng)
    tensors = [torch.tensor(p, requires_grad=True) for p in start]
    options = options_of(algorithm, case)
    optimizer = (SGDHD if algorithm == "sgd" else AdamHD)(tensors, **options, foreach=foreach)
    reference = ReferenceGroup(start, algorithm, **options)
    for _ in range(60):
        present = rng.random(4) < rng.choice([0.0, 0.7, 1.0], p=[0.1, 0.5, 0.4])
        grads = gradients([t.detach().numpy() for t in tensors])
        for tensor, grad, here in zip(tensors, grads, present, strict=True):
            tensor.grad = torch.from_numpy(grad.copy()) if here else None
        optimizer.step()
        grads = gradients(reference.params)
        reference.step([g if here else None for g, here in zip(grads, present, strict=True)])
        assert optimizer.param_groups[0]["lr"] == pytest.approx(reference.lr, rel=1e-10)
    for tensor, p in zip(tensors, reference.params, strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), p, rtol=1e-9, atol=1e-11)


def test_one_group_a_tensor_is_lbanns_formula():
    """LBANN's hypergradient_adam keeps a learning rate a weights tensor; its eps is elsewhere."""
    beta1, beta2, lr, hypergrad_lr = 0.9, 0.99, 1e-3, 1e-4
    start, gradients = PROBLEMS["mlp"](np.random.default_rng(3))
    tensors = [torch.tensor(p, requires_grad=True) for p in start]
    optimizer = AdamHD(
        group_per_tensor(tensors), lr=lr, betas=(beta1, beta2), eps=0, hypergrad_lr=hypergrad_lr
    )
    weights = [
        {"x": p.copy(), "m1": 0.0 * p, "m2": 0.0 * p, "old": 0.0 * p, "lr": lr} for p in start
    ]
    for t in range(1, 101):
        for tensor, grad in zip(
            tensors, gradients([t.detach().numpy() for t in tensors]), strict=True
        ):
            tensor.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        correction = np.sqrt(1 - beta2**t) / (1 - beta1**t)
        for w, g in zip(weights, gradients([w["x"] for w in weights]), strict=True):
            w["lr"] += hypergrad_lr * np.vdot(g, w["old"])
            w["m1"] = beta1 * w["m1"] + (1 - beta1) * g
            w["m2"] = beta2 * w["m2"] + (1 - beta2) * g * g
            w["old"] = correction * w["m1"] / np.sqrt(w["m2"])
            w["x"] = w["x"] - w["lr"] * w["old"]
    for group, tensor, w in zip(optimizer.param_groups, tensors, weights, strict=True):
        assert group["lr"] == pytest.approx(w["lr"], rel=1e-12)
        np.testing.assert_allclose(tensor.detach().numpy(), w["x"], rtol=1e-11)
    assert len({group["lr"] for group in optimizer.param_groups}) == len(tensors)


def test_three_steps_worked_by_hand():
    """f(w) = w²/2 from w = 4 with lr 0.1 and β 0.01; the same numbers are in docs/optimizers.md."""
    w = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)
    optimizer = SGDHD([w], lr=0.1, hypergrad_lr=0.01)
    seen = []
    for _ in range(3):
        w.grad = w.detach().clone()
        optimizer.step()
        seen.append((optimizer.param_groups[0]["lr"], w.item()))
    np.testing.assert_allclose(
        seen, [(0.1, 3.6), (0.244, 2.7216), (0.3419776, 1.79087376384)], rtol=1e-13
    )
    page = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text("utf-8")
    for lr, after in seen:
        assert f"{lr:.10g} | " in page
        assert f"{after:.12g} |" in page


def test_multiplicative_rule_cannot_leave_zero():
    lrs, *_ = run_both(
        "sgd", "logistic", [4], {"lr": 0.0, "hypergrad_lr": 0.1, "rule": "multiplicative"}, 20
    )
    assert (lrs == 0).all()


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_multiplicative_rule_leaves_lr_alone_where_a_gradient_vanishes(make, lr):
    w = torch.ones(3, requires_grad=True)
    optimizer = make([w], lr=lr, hypergrad_lr=0.5, rule="multiplicative")
    w.grad = torch.ones(3)
    optimizer.step()
    w.grad = torch.zeros(3)
    optimizer.step()
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.1)
