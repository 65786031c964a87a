"""A pack that goes on from a snapshot gives what an undisturbed one gives, bit for bit."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_fused import ADAM_ARMS, NESTEROV, SGD_ARMS, arm, assert_equal, cells_of, declare

from hdsens.records import Snapshot
from hdsens.tasks.data import load_data
from hdsens.training.fused import run as fused
from hdsens.training.job import EVALUATION_BATCH
from hdsens.training.pack import PackTraining

STEPS = 70  # more than a look's window


def train(study, path, snapshot=None, cells=None, keep=None):
    training = PackTraining(study, cells or cells_of(study), "cpu", 1, path, snapshot)
    while training.live:
        training.advance()
        taken = training.snapshot()
        if keep is not None and taken is not None:
            keep(taken)
    return training.record().cells


def through_files(snapshot):
    """As a store would bring it back: memory of its own, details through JSON."""
    arrays = {name: np.array(array) for name, array in snapshot.arrays.items()}
    details = json.loads(json.dumps(snapshot.details, allow_nan=False))
    assert all(len(array) == len(snapshot.cell_ids) for array in arrays.values())
    return Snapshot(snapshot.step, snapshot.cell_ids, arrays, details)


def interrupted_at(study, path, moments):
    """The whole run's records, and snapshots at some of its step boundaries, in order."""
    kept: list[Snapshot] = []
    whole = train(study, path, keep=lambda snapshot: kept.append(through_files(snapshot)))
    return whole, [kept[int(moment * (len(kept) - 1))] for moment in moments]


FUSED = {
    "sgd": (SGD_ARMS, "mlp", {"width": 8}, "targets"),
    "adam": (ADAM_ARMS, "mlp", {"width": 8}, "budget"),
    "buffers": (SGD_ARMS, "fused_models:norm_cnn", {}, "budget"),
    "dropout": (ADAM_ARMS, "fused_models:residual", {"p": 0.4}, "targets"),
    "draws": (SGD_ARMS, "fused_models:drawing", {}, "budget"),
}


@pytest.mark.parametrize("case", FUSED)
def test_a_fused_pack_goes_on_bit_for_bit(case):
    arms, model, settings, stop = FUSED[case]
    study = declare(
        arms, model, settings, steps=STEPS, dtype="float32", stop={"when": stop},
        trace={"points": 4, "evaluate": [0.1, 1.0]},
        targets={"early": {"batch_loss": 2.2}, "low": {"batch_loss": 1.2}},
    )  # fmt: skip
    whole, snapshots = interrupted_at(study, "fused", (0, 0.37, 0.8))
    assert snapshots[-1].step > STEPS // 2
    for snapshot in snapshots:
        assert train(study, "fused", snapshot) == whole


def test_a_pack_in_turns_goes_on_bit_for_bit(monkeypatch):
    float32, classes = 4, 10
    monkeypatch.setattr(fused, "LARGEST_ARRAY", 3 * float32 * EVALUATION_BATCH * classes)
    study = declare(SGD_ARMS, "mlp", {"width": 8}, steps=20, dtype="float32")
    whole, snapshots = interrupted_at(study, "fused", (0, 0.3, 0.5, 0.8, 1))
    assert {len(snapshot.cell_ids) for snapshot in snapshots} <= {1, 2, 3}
    assert len(whole) == len(cells_of(study)) > 3 * 3
    for snapshot in snapshots:
        assert train(study, "fused", snapshot) == whole


class Counting(torch.optim.SGD):
    """SGD with state beside torch's: a number, and a tensor more exact than the parameters."""

    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, lr, weight_decay=weight_decay)
        self.taken = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.taken += 1
        for group in self.param_groups:
            group["lr"] *= 1 - 0.1 / self.taken
            for p in group["params"]:
                seen = self.state[p].setdefault("seen", torch.zeros((), dtype=torch.float64))
                seen.add_(p.grad.double().sum() / 3)
                p.add_(torch.sin(1e6 * seen).to(p.dtype), alpha=-1e-3)
        super().step(closure)


class Restless(torch.optim.SGD):
    """SGD with noise from the generators of NumPy and Python."""

    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.add_(np.random.randn() + random.random(), alpha=1e-3)  # noqa: NPY002 # what is tested
        super().step(closure)


class Hoarding(torch.optim.SGD):
    """SGD whose state is no tensor: it has no snapshot."""

    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, lr, weight_decay=weight_decay)

    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            self.state[p].setdefault("seen", {len(self.state)})
        return super().step(closure)


class Holding(Hoarding):
    """Likewise: tensors that no state_dict has."""

    def step(self, closure=None):
        self.last = self.param_groups[0]["params"][0].detach().clone()
        return torch.optim.SGD.step(self, closure)


PLAIN = {
    "sgd": arm("a", "SGD", [0.1, 0.01], settings=NESTEROV, schedule="inv_sqrt"),
    "sgd_hd": arm("a", "SGDHD", [0.1], hypergrad_lr=[1e-3, 1e4], settings=NESTEROV),
    "bounded": arm("a", "SGDHD", hypergrad_lr=1e-3, settings={"lr_bounds": [0.0, 0.02]}),
    "transition": arm("a", "SGDHD", [0.1], hypergrad_lr=1e-3, settings={"transition": [0.1, 2.0]}),
    "adam_hd": arm("a", "AdamHD", [0.01], hypergrad_lr=1e-5, settings={"betas": [0.8, 0.9]}),
    "adamw": arm("a", "AdamW", [0.01], clip_grad_norm=0.3),
    "rmsprop": arm("a", "RMSprop", [0.01], schedule="inv_sqrt"),
    "radam": arm("a", "RAdam", [0.01]),
    "own": arm("a", f"{__name__}:Counting", [0.1, 0.01]),
    "draws": arm("a", f"{__name__}:Restless", [0.1, 0.01]),
}


@pytest.mark.parametrize("case", PLAIN)
def test_the_plain_loop_goes_on_bit_for_bit(case):
    study = declare([PLAIN[case]], "fused_models:norm_cnn", steps=12, dtype="float32")
    whole, snapshots = interrupted_at(study, "plain", (0, 0.47, 1))
    for snapshot in snapshots:
        assert train(study, "plain", snapshot) == whole


def test_random_augmentation_of_ones_own_follows_seed_and_step():
    """Drawn from the global generators, though one that depends on the step is offered."""
    study = declare([arm("a", "SGD", [0.1, 0.01])], steps=12)
    task = study.task.model_copy(update={"data": f"{__name__}:shaken_digits"})
    study = study.model_copy(update={"task": task})
    for path in ("fused", "plain"):
        whole, snapshots = interrupted_at(study, path, (0.2, 0.8))
        for snapshot in snapshots:
            assert train(study, path, snapshot) == whole
    assert_equal(train(study, "fused"), train(study, "plain"))


def shaken_digits():
    def shake(inputs, generator):
        return inputs * np.random.uniform(0.5, 1.5) + random.random()  # noqa: NPY002 # likewise

    return replace(load_data("digits", {}), augment=shake)


@pytest.mark.parametrize("kind", ["Hoarding", "Holding"])
def test_an_optimizer_with_other_state_has_no_snapshot_and_trains_on(kind, caplog):
    study = declare([arm("a", f"{__name__}:{kind}", [0.1])], steps=5)
    kept = []
    records = train(study, "plain", keep=kept.append)
    assert [r.outcome for r in records] == ["completed"]
    assert kept == []
    assert "not kept" not in caplog.text


def test_a_snapshot_serves_fewer_and_more_cells():
    study = declare(SGD_ARMS, "mlp", {"width": 16}, steps=STEPS)
    whole, (snapshot,) = interrupted_at(study, "fused", (0.5,))
    by_cell = {r.cell.cell_id: r for r in whole}
    cells = cells_of(study)
    fewer = train(study, "fused", snapshot, cells[2:6])
    more_arms = [*SGD_ARMS, arm("more", "SGD", [0.02])]
    more = train(declare(more_arms, "mlp", {"width": 16}, steps=STEPS), "fused", snapshot)
    assert [r.cell for r in fewer] == list(cells[2:6])
    assert len(more) == len(whole) + 1
    for record in (*fewer, *more[:-1]):
        expected = by_cell[record.cell.cell_id]
        assert (record.outcome, record.steps_run) == (expected.outcome, expected.steps_run)
        if record.outcome == "completed":
            assert record.train_loss == pytest.approx(expected.train_loss, rel=1e-9)


def test_a_pack_that_went_over_to_the_plain_loop_goes_on_there():
    study = declare([arm("sgd", "SGD", [0.0, 0.01])], "fused_models:recurrent", steps=6)
    whole, snapshots = interrupted_at(study, "fused", (0.3, 0.9))
    assert [s.details["path"] for s in snapshots] == ["plain", "plain"]
    for snapshot in snapshots:
        assert train(study, "fused", snapshot) == whole


def test_halves_of_a_pack_without_memory_go_on_from_its_snapshot(tmp_path, caplog):
    marker = tmp_path / "marker"
    marker.write_text("x")  # it has run out of memory once before, and does not again
    settings = {"marker": str(marker), "times": 1}
    arms = [arm("sgd", "SGD", [0.0, 0.01, 0.1])]
    study = declare(arms, "fused_models:hungry", settings, steps=20)
    whole, (snapshot,) = interrupted_at(study, "fused", (0.5,))
    marker.write_text("")
    kept = []
    assert_equal(train(study, "fused", snapshot, keep=kept.append), whole)
    assert caplog.messages == ["out of memory: 3 cells go on in two packs"]
    assert min(later.step for later in kept) == snapshot.step + 1


def test_a_snapshot_of_another_cadence_or_path_is_left_alone(caplog):
    study = declare([arm("sgd", "SGD", [0.0, 0.01])], steps=20)
    whole, (snapshot,) = interrupted_at(study, "fused", (0.5,))
    other = declare([arm("sgd", "SGD", [0.0, 0.01])], steps=20, trace={"points": 4})
    assert train(other, "fused", snapshot) == train(other, "fused")
    assert train(study, "plain", snapshot) == train(study, "plain")
    assert caplog.messages == []
    broken = replace(snapshot, arrays={**snapshot.arrays, "rule/lr": np.zeros((2, 3))})
    assert train(study, "fused", replace(broken, arrays={})) == whole
    assert "a snapshot does not fit: " in caplog.text


def test_looking_at_a_training_between_its_steps_changes_nothing():
    """The records come as cells end, each once, and the process' own settings stay as they were."""
    arms = [*SGD_ARMS, arm("diverging", "SGD", [1e300])]
    study = declare(arms, "mlp", {"width": 8}, steps=20, dtype="float32")
    for path in ("fused", "plain"):
        at_once = PackTraining(study, cells_of(study), "cpu", 1, path)
        records = list(at_once)
        step_by_step = PackTraining(study, cells_of(study), "cpu", 1, path)
        seen, settings = [], _settings()
        while step_by_step.live:
            live = {cell.cell_id for cell in step_by_step.live}
            ended = step_by_step.advance()
            assert {r.cell.cell_id for r in ended} == live - {
                cell.cell_id for cell in step_by_step.live
            }
            step_by_step.snapshot()
            seen += ended
            assert _settings() == settings
        assert seen == records
        assert step_by_step.record().cells == at_once.record().cells
        assert [r.outcome for r in seen].count("diverged") > 0


def _settings():
    return torch.get_default_dtype(), torch.get_num_threads(), random.getstate()


def test_the_seconds_before_an_interruption_count():
    study = declare([arm("sgd", "SGD", [0.0, 0.01])], steps=20)
    _, (snapshot,) = interrupted_at(study, "plain", (0.9,))
    late = replace(snapshot, details={**snapshot.details, "seconds": 1000.0})
    training = PackTraining(study, cells_of(study), "cpu", 1, "plain", late)
    list(training)
    assert training.record().seconds > 1000
