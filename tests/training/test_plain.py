"""The plain loop against NumPy written from the paper, and against its own contract."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from hdsens.study import Study
from hdsens.study.cells import expand
from hdsens.tasks.data import load_data, split_indices
from hdsens.training.check import examples_to_train
from hdsens.training.examples import Batches, load_examples
from hdsens.training.job import evaluation_steps, trace_steps
from hdsens.training.pack import PackTraining
from hdsens.training.randomness import Purpose, epoch_order, seed_for

N_TRAIN = 1293


def train(data):
    study = Study.from_dict(data)
    cells = expand(study, examples_to_train(study.task))
    return {
        (r.cell.arm, *r.cell.factors.values(), r.cell.seed): r
        for r in PackTraining(study, cells, "cpu")
    }


def study(arms, *, steps=30, seeds=1, dtype="float64", **more):
    task = {"model": "logreg", "data": "digits", "steps": steps, "dtype": dtype, "batch_size": 100}
    task |= more.pop("task", {})
    return {"name": "t", "seeds": seeds, "task": task, "arms": arms, **more}


def arm(optimizer, lr, name=None, **more):
    return {"name": name or optimizer, "optimizer": optimizer, "lr": lr, **more}


class NumpyLogreg:
    """Softmax regression in float64, written from its formulas."""

    def __init__(self, seed, batch_size=100, l2=0.0):
        data = load_data("digits", {})
        kept, held = split_indices(len(data.train_targets), 0.1)
        self.x = data.train_inputs[kept].reshape(len(kept), -1).astype(float)
        self.y = data.train_targets[kept]
        self.xv = data.train_inputs[held].reshape(len(held), -1).astype(float)
        self.yv = data.train_targets[held]
        torch.manual_seed(seed_for(seed, 0, Purpose.WEIGHTS))
        layer = nn.Linear(64, 10, dtype=torch.float64)
        self.theta = np.hstack(
            [layer.weight.detach().numpy(), layer.bias.detach().numpy()[:, None]]
        )
        self.seed, self.batch_size, self.l2 = seed, batch_size, l2

    def loss(self, x, y):
        z = np.hstack([x, np.ones((len(x), 1))]) @ self.theta.T
        z -= z.max(axis=1, keepdims=True)
        return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]).mean()

    def gradient(self, x, y):
        x1 = np.hstack([x, np.ones((len(x), 1))])
        z = x1 @ self.theta.T
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        return p.T @ x1 / len(y) + self.l2 * self.theta

    def batch(self, step):
        per_epoch = math.ceil(len(self.y) / self.batch_size)
        epoch, index = divmod(step - 1, per_epoch)
        order = epoch_order(self.seed, epoch, len(self.y))
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.x[rows], self.y[rows]

    def run(self, steps, lr, beta=0.0, mu=0.0):
        """SGDN-HD, Algorithm 5, additive rule; mu = 0 is SGD-HD, beta = 0 the base algorithm."""
        u = v = np.zeros_like(self.theta)
        losses, lrs = [], []
        for step in range(1, steps + 1):
            x, y = self.batch(step)
            losses.append(self.loss(x, y))
            g = self.gradient(x, y)
            lr += beta * float((g * u).sum())
            v = mu * v + g
            u = g + mu * v if mu else g
            self.theta = self.theta - lr * u
            lrs.append(lr)
        return losses, lrs


@pytest.mark.parametrize("beta", [0.0, 1e-2])
@pytest.mark.parametrize("mu", [0.0, 0.9])
@pytest.mark.parametrize("lr", [0.0, 0.05])
def test_against_numpy_from_the_formulas(lr, mu, beta):
    settings = {"momentum": mu, "nesterov": True} if mu else {}
    data = study(
        [arm("SGDHD", lr, hypergrad_lr=beta, settings=settings)],
        seeds=[3],
        trace={"points": 30, "evaluate": [0.5, 1.0]},
        task={"weight_decay": 1e-3},
    )
    record = train(data)["SGDHD", lr, beta, 3]
    oracle = NumpyLogreg(3, l2=1e-3)
    assert record.initial_loss == pytest.approx(oracle.loss(oracle.x, oracle.y), rel=1e-12)
    losses, lrs = oracle.run(30, lr, beta, mu)
    traced = {p.step: p for p in record.trace}
    assert [p.batch_loss for p in record.trace] == pytest.approx(
        [losses[s - 1] for s in traced], rel=1e-10
    )
    assert [p.lr for p in record.trace] == pytest.approx(
        [lrs[s - 1] for s in traced], rel=1e-9, abs=1e-15
    )
    assert record.train_loss == pytest.approx(oracle.loss(oracle.x, oracle.y), rel=1e-10)
    assert record.valid_loss == pytest.approx(oracle.loss(oracle.xv, oracle.yv), rel=1e-10)
    assert (record.lr_final, record.lr_max, record.lr_min) == pytest.approx(
        (lrs[-1], max(lrs), min(lrs)), rel=1e-9, abs=1e-15
    )
    assert traced[15].train_loss is not None
    assert traced[30].train_loss == record.train_loss


def test_an_hd_cell_at_zero_equals_its_base_cell_bit_for_bit():
    momentum = {"momentum": 0.9, "nesterov": True}
    pairs = [("SGD", "SGDHD", {}), ("SGD", "SGDHD", momentum), ("Adam", "AdamHD", {})]
    for base, hd, settings in pairs:
        arms = [
            arm(base, [0.0, 0.03], settings=settings),
            arm(hd, [0.0, 0.03], hypergrad_lr=0.0, settings=settings),
        ]
        records = train(study(arms, dtype="float32", task={"weight_decay": 1e-4}))
        for lr in (0.0, 0.03):
            assert records[hd, lr, 0.0, 0].trace == records[base, lr, 0].trace


def test_zero_is_a_level_where_base_arms_stay_and_hd_arms_leave():
    arms = [
        arm("SGD", 0),
        arm("Adam", 0),
        arm("SGDHD", 0, hypergrad_lr=1e-2),
        arm("AdamHD", 0, hypergrad_lr=1e-5),
    ]
    records = train(study(arms))
    for base in ("SGD", "Adam"):
        record = records[base, 0.0, 0]
        assert record.outcome == "completed"
        assert record.train_loss == record.initial_loss
    for hd, beta in (("SGDHD", 1e-2), ("AdamHD", 1e-5)):
        record = records[hd, 0.0, beta, 0]
        assert record.train_loss < record.initial_loss - 0.01
        assert record.lr_max > 0 == record.trace[0].lr


def test_divergence_is_recorded_with_its_step_and_leaves_final_losses_null():
    class_path = f"{__name__}:NanAtSeven"
    records = train(study([arm(class_path, [0.1, 0.2], name="x")], dtype="float32"))
    record = records["x", 0.1, 0]
    assert (record.outcome, record.diverged_step, record.steps_run) == ("diverged", 7, 7)
    assert (record.train_loss, record.valid_loss, record.valid_accuracy) == (None, None, None)
    assert max(p.step for p in record.trace) < 7
    assert records["x", 0.2, 0].outcome == "completed"


class NanAtSeven(torch.optim.SGD):
    """SGD whose seventh update ruins one parameter, for lr = 0.1 only."""

    taken = 0

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        self.taken += 1
        if self.taken == 7 and self.param_groups[0]["lr"] == 0.1:
            self.param_groups[0]["params"][0].view(-1)[-1] = math.nan


@pytest.mark.parametrize("where", ["loss", "gradient", "parameter", "lr"])
def test_each_cause_of_divergence_is_seen_at_its_step(where):
    records = train(
        study(
            [arm(f"{__name__}:Spoiled", 0.1, name="x", settings={"where": where})],
            task={"model": f"{__name__}:spoilable"},
            trace={"points": 5, "evaluate": [1.0]},
        )
    )
    record = records["x", 0.1, 0]
    assert (record.outcome, record.diverged_step) == ("diverged", 4 if where == "loss" else 3)


class Spoiled(torch.optim.SGD):
    """SGD that makes one thing non-finite in its third update."""

    def __init__(self, params, lr, weight_decay=0.0, where=""):
        super().__init__(params, lr, weight_decay=weight_decay)
        self.where, self.taken = where, 0

    @torch.no_grad()
    def step(self, closure=None):
        self.taken += 1
        if self.where != "gradient":  # so that a bad gradient harms nothing else
            super().step(closure)
        parameters = self.param_groups[0]["params"]
        if self.taken == 2 and self.where == "gradient":
            parameters[0].register_hook(lambda g: g * math.inf)
        if self.taken == 3 and self.where == "parameter":
            parameters[-1].fill_(math.inf)
        if self.taken == 3 and self.where == "lr":
            self.param_groups[0]["lr"] = math.nan
        if self.taken == 3 and self.where == "loss":
            parameters[-1].fill_(1e308)  # finite, and overflows the next forward


def spoilable(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), n_classes), Doubled())


class Doubled(nn.Module):
    def forward(self, x):
        return x * torch.tensor([10.0] * 5 + [-10.0] * 5, dtype=x.dtype)


def test_an_lr_whose_bias_corrected_step_is_infinite_in_float32_has_diverged():
    (record,) = train(study([arm("Adam", [3e38])], dtype="float32")).values()
    assert (record.outcome, record.diverged_step) == ("diverged", 1)


def test_steps_to_target_is_the_first_minibatch_at_or_below():
    data = study([arm("SGD", [0.0, 0.5])], trace={"points": 30, "evaluate": [1.0]})
    losses = {p.step: p.batch_loss for p in train(data)["SGD", 0.5, 0].trace}
    exactly = losses[max(losses)]
    data["targets"] = {"exact": {"batch_loss": exactly}, "never": {"batch_loss": -1.0}}
    records = train(data)
    oracle = NumpyLogreg(0)
    all_losses, _ = oracle.run(30, 0.5)
    first = next(i for i, loss in enumerate(all_losses, 1) if loss <= exactly + 1e-12)
    assert records["SGD", 0.5, 0].steps_to == {"exact": first}
    assert records["SGD", 0.0, 0].steps_to == {}


def test_stop_at_targets_ends_a_cell_early_with_its_evaluation():
    data = study([arm("SGD", [0.0, 0.5])], targets={"low": {"batch_loss": 1.5}})
    free = train(data)["SGD", 0.5, 0]
    data["stop"] = {"when": "targets"}
    records = train(data)
    stopped = records["SGD", 0.5, 0]
    assert stopped.outcome == "completed"
    assert stopped.steps_run == free.steps_to["low"] == stopped.steps_to["low"] < 30
    assert stopped.train_loss == stopped.trace[-1].train_loss > free.train_loss
    assert records["SGD", 0.0, 0].steps_run == 30


def test_clipping_bounds_the_update():
    data = study([arm("SGD", 1.0, clip_grad_norm=1e-6), arm("SGD", 1.0, name="free")])
    records = train(data)
    clipped = records["SGD", 1.0, 0]
    assert (
        abs(clipped.train_loss - clipped.initial_loss)
        < 1e-3
        < abs(records["free", 1.0, 0].train_loss - clipped.initial_loss)
    )


def test_inv_sqrt_gives_step_t_the_lr_over_root_t_and_keeps_an_adapted_lr():
    data = study(
        [
            arm("SGD", 0.5, schedule="inv_sqrt"),
            arm("SGDHD", 0.5, schedule="inv_sqrt", hypergrad_lr=0.0),
            arm("SGDHD", 0.5, name="moving", schedule="inv_sqrt", hypergrad_lr=1e-3),
        ],
        trace={"points": 30, "evaluate": [1.0]},
    )
    records = train(data)
    base = records["SGD", 0.5, 0]
    assert [p.lr for p in base.trace] == pytest.approx([0.5 / p.step**0.5 for p in base.trace])
    assert records["SGDHD", 0.5, 0.0, 0].trace == base.trace
    assert records["moving", 0.5, 1e-3, 0].lr_final != base.lr_final


def test_cells_of_a_seed_share_weights_and_batches_and_seeds_differ():
    records = train(study([arm("SGD", [0.0, 0.1]), arm("Adam", 0.0)], seeds=2))
    first = {key: record.trace[0].batch_loss for key, record in records.items()}
    assert len({loss for key, loss in first.items() if key[-1] == 0}) == 1
    assert first["SGD", 0.0, 0] != first["SGD", 0.0, 1]


def test_results_do_not_depend_on_global_state_and_leave_it_alone():
    data = study(
        [arm("SGD", 0.1), arm("Adam", 0.01)],
        dtype="float32",
        task={"model": "cnn", "model_settings": {"width": 2, "dropout": 0.5}, "steps": 5},
    )
    before = train(data)
    torch.manual_seed(123)
    torch.set_default_dtype(torch.float64)
    threads = torch.get_num_threads()
    try:
        expected = torch.rand(3)
        torch.manual_seed(123)
        after = train(data)
        assert torch.equal(torch.rand(3), expected)
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_num_threads() == threads
    finally:
        torch.set_default_dtype(torch.float32)
    assert after == before


def drops(input_shape, n_classes):
    layers = nn.Flatten(), nn.Dropout(0.5), nn.Linear(math.prod(input_shape), n_classes)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("path", ["plain", "fused"])
def test_dropout_is_off_in_evaluations_and_on_in_training(path):
    """At lr = 0 the weights stay: evaluations are softmax regression's, minibatches are not."""
    data = study([arm("SGD", [0.0])], steps=3, task={"model": f"{__name__}:drops"})
    declared = Study.from_dict(data)
    cells = expand(declared, N_TRAIN)
    (record,) = PackTraining(declared, cells, "cpu", path=path)
    oracle = NumpyLogreg(0)
    assert record.train_loss == pytest.approx(oracle.loss(oracle.x, oracle.y), rel=1e-12)
    assert record.valid_loss == pytest.approx(oracle.loss(oracle.xv, oracle.yv), rel=1e-12)
    first = record.trace[0].batch_loss
    assert abs(first - oracle.loss(*oracle.batch(1))) > 0.05


def test_dropout_masks_differ_from_step_to_step():
    data = study([arm("SGD", 0.0)], dtype="float32", trace={"points": 26, "evaluate": [1.0]},
                 task={"model": "cnn", "model_settings": {"width": 2, "dropout": 0.5},
                       "batch_size": 1293, "steps": 3})  # fmt: skip
    losses = [p.batch_loss for p in train(data)["SGD", 0.0, 0].trace]
    assert len(set(losses)) == 3  # same weights, same examples: only the masks differ


def test_an_epoch_visits_each_example_once_and_keeps_the_short_batch():
    examples = load_examples(Study.from_dict(study([arm("SGD", 0.1)])).task, torch.device("cpu"))
    assert examples.n_train == N_TRAIN
    batches = Batches(examples, seed=5, batch_size=100)
    assert batches.per_epoch == 13
    for epoch in (0, 1):
        rows = [batches.at(epoch * 13 + i).inputs for i in range(1, 14)]
        assert [len(r) for r in rows] == [100] * 12 + [93]
        visited = torch.cat(rows).flatten(1).sort(dim=0).values
        assert torch.equal(visited, examples.train.inputs.flatten(1).sort(dim=0).values)
    assert not torch.equal(batches.at(1).inputs, batches.at(14).inputs)


def test_validation_is_held_back_and_test_is_the_test_split():
    task = Study.from_dict(study([arm("SGD", 0.1)])).task
    held = load_examples(task, torch.device("cpu"))
    assert (held.n_train, len(held.valid.targets)) == (N_TRAIN, 144)
    on_test = load_examples(task.model_copy(update={"validation": "test"}), torch.device("cpu"))
    assert (on_test.n_train, len(on_test.valid.targets)) == (1437, 360)


def test_steps_that_are_traced_and_evaluated():
    assert trace_steps(5, 10_000) == {1, 10, 100, 1000, 10_000}
    assert trace_steps(60, 3) == {1, 2, 3}
    assert evaluation_steps([1e-12], 10) == {1, 10}
    assert evaluation_steps([0.1, 0.3], 10) == {1, 3, 10}
    assert evaluation_steps([0.1, 0.3, 1.0], 25) == {3, 8, 25}  # rounded up


def broken_model():
    raise RuntimeError("no such <layer>\nsecond line")


def test_a_model_that_raises_makes_failed_cells_with_the_reason_and_its_place():
    records = train(study([arm("SGD", [0.1, 0.2])], task={"model": f"{__name__}:broken_model"}))
    assert [r.outcome for r in records.values()] == ["failed", "failed"]
    line = broken_model.__code__.co_firstlineno + 1
    told = f"RuntimeError: no such <layer> second line (test_plain.py:{line})"
    assert {r.error for r in records.values()} == {told}


def test_only_the_culprit_fails():
    records = train(study([arm(f"{__name__}:Picky", [0.1, 0.2], name="x")]))
    assert records["x", 0.1, 0].outcome == "completed"
    told = r"ArithmeticError: 0.2 is too much \(test_plain.py:\d+\)"
    assert re.fullmatch(told, records["x", 0.2, 0].error)


class Picky(torch.optim.SGD):
    def step(self, closure=None):
        if self.param_groups[0]["lr"] == 0.2:
            raise ArithmeticError("0.2 is too much")
        return super().step(closure)
