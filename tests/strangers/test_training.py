"""Other people's code in training: fused, plain and resumed give one result, or say why not."""

from __future__ import annotations

import pytest
import torch
from strange import cells_of, declare

from hdsens.errors import InputError
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.environment import training_environment
from hdsens.training.examples import load_examples
from hdsens.training.job import Job, evaluate
from hdsens.training.pack import PackTraining
from hdsens.training.plain import PlainRun


def trained(study, path="plain", snapshot=None):
    return list(PackTraining(study, cells_of(study), "cpu", 1, path, snapshot))


def resumed(study, path, steps=4):
    """As `trained`, in two parts."""
    training = PackTraining(study, cells_of(study), "cpu", 1, path)
    for _ in range(steps):
        training.advance()
    snapshot = training.snapshot()
    assert snapshot is not None
    return trained(study, path, snapshot)


def test_a_cell_that_exits_fails_with_its_reason_and_the_others_go_on():
    for path in ("plain", "fused"):
        records = trained(declare("Quits"), path)
        assert [r.outcome for r in records] == ["failed", "failed"]
        assert all(r.error.startswith("SystemExit: 3 (strange.py:") for r in records)


def test_what_ray_makes_of_sigterm_ends_the_worker():
    def sigterm_handler(number, frame):
        raise SystemExit(1)

    study = declare()
    training = PackTraining(study, cells_of(study))
    for _ in range(2):
        training.advance()
    training._run.advance = lambda: sigterm_handler(15, None)
    with pytest.raises(SystemExit):
        training.advance()
    assert len(training.live) == 2


@pytest.mark.parametrize("path", ["plain", "fused"])
@pytest.mark.parametrize("model", ["Unfreezes", "ReplacesLate"])
def test_parameters_that_come_late_in_training_fail_by_name(model, path):
    records = trained(declare(model, task={"steps": 8}), path)
    assert {r.outcome for r in records} == {"failed"}
    assert "parameter 'net.0.weight' came, or was thawed, after the optimizer" in records[0].error


def test_an_optimizer_is_evaluated_in_its_own_mode_and_trains_in_the_other():
    study = declare(optimizer="strange:Averaged", lr=[0.5])
    (record,) = trained(study)
    (cell,) = cells_of(study)
    with training_environment(torch.float32, 1):
        job = Job(study, load_examples(study.task, torch.device("cpu")), torch.device("cpu"))
        run = PlainRun(job, cell, job.fresh_model(0))
        points = []
        for step in range(1, 7):
            run.update(step)
            points.append([p.detach().clone() for p in run.model.parameters()])
        averages = [torch.stack(of_one).mean(0) for of_one in zip(*points, strict=True)]
        for parameter, average in zip(run.model.parameters(), averages, strict=True):
            parameter.data = average
        expected = evaluate(run.model, job.examples.train, job.loss).loss
    assert record.train_loss == pytest.approx(expected, rel=1e-5)
    assert run.optimizer.calls == "t"


def test_an_optimizer_with_modes_goes_on_from_a_checkpoint_bit_for_bit():
    study = declare(optimizer="strange:Averaged")
    assert resumed(study, "plain") == trained(study)


@pytest.mark.parametrize("how", ["linalg", "masked", "int", "distribution", "sample", "check"])
def test_an_error_on_numbers_that_a_cell_made_infinite_is_divergence(how):
    task = {"model_settings": {"how": how}, "steps": 12}
    calm, wild = trained(declare("NeedsFinite", lr=[0.0, 1e9], task=task))
    assert (calm.outcome, wild.outcome) == ("completed", "diverged")
    assert 1 <= wild.diverged_step <= 12
    assert (wild.train_loss, wild.error) == (None, None)


@pytest.fixture
def compiled_before():
    """What the first ``torch.compile`` leaves behind in its process."""
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    yield
    torch.distributions.Distribution.set_default_validate_args(before)


def test_the_same_where_torch_compile_has_turned_checks_of_distributions_off(compiled_before):
    task = {"model_settings": {"how": "distribution"}, "steps": 12}
    calm, wild = trained(declare("NeedsFinite", lr=[0.0, 1e9], task=task))
    assert (calm.outcome, wild.outcome) == ("completed", "diverged")
    assert torch.distributions.Distribution._validate_args is False


def test_python_overflow_after_the_first_step_is_divergence():
    task = {"model_settings": {"how": "math"}, "steps": 12}
    calm, wild = trained(declare("NeedsFinite", lr=[0.0, 1e9], task=task))
    assert (calm.outcome, wild.outcome) == ("completed", "diverged")


def test_the_same_in_evaluations_and_in_optimizers():
    task = {"model_settings": {"how": "linalg", "only_in_eval": True}, "steps": 12}
    calm, wild = trained(declare("NeedsFinite", lr=[0.0, 1e9], task=task))
    assert (calm.outcome, wild.outcome) == ("completed", "diverged")
    calm, wild = trained(
        declare(optimizer="strange:Decomposes", lr=[0.0, 1e16], task={"steps": 12})
    )
    assert (calm.outcome, wild.outcome) == ("completed", "diverged")


def test_a_mistake_on_finite_numbers_is_a_failure():
    task = {"model_settings": {"how": "bug"}, "steps": 12}
    calm, wild = trained(declare("NeedsFinite", lr=[0.0, 30.0], task=task))
    assert (calm.outcome, wild.outcome) == ("completed", "failed")
    assert "a mistake of mine" in wild.error


@pytest.mark.parametrize(
    ("model", "path"),
    [
        *((m, p) for m in ("counts", "draws", "hooked", "complex") for p in ("plain", "fused")),
        ("kept_frozen", "plain"),
    ],
)
def test_what_a_model_keeps_besides_tensors_is_resumed(model, path):
    study = declare("keeps", task={"model_settings": {"what": model}, "steps": 8})
    whole = trained(study, path)
    assert {r.outcome for r in whole} == {"completed"}
    assert resumed(study, path) == whole
    plain = trained(study)
    for one, other in zip(whole, plain, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("what", "path", "reason"),
    [
        ("iterates", "plain", "the model's model.source is no plain data"),
        ("iterates", "fused", "the model's model.source is no plain data"),
        ("kept_frozen", "fused", "the model writes into parameters that are frozen"),
    ],
)
def test_what_cannot_be_kept_is_said_once_and_trains_without_checkpoints(
    what, path, reason, caplog
):
    study = declare("keeps", task={"model_settings": {"what": what}, "steps": 8})
    training = PackTraining(study, cells_of(study), "cpu", 1, path)
    training.advance()
    for _ in range(4):
        training.advance()
        assert training.snapshot() is None
    told = f"cannot be checkpointed: {reason}; interrupted, it starts anew"
    assert caplog.messages == [told]
    assert list(training) == trained(study, path)


def test_memory_that_nobody_has_written_to_is_no_divergence():
    task = {"model_settings": {"how": "bug", "blank": True}, "steps": 12}
    calm, wild = trained(declare("NeedsFinite", lr=[0.0, 30.0], task=task))
    assert (calm.outcome, wild.outcome) == ("completed", "failed")


def test_an_lr_at_which_torchs_product_overflows_is_trained_as_torch_does():
    study = declare("Sine", optimizer="Adam", lr=[1e25, 0.1])
    packs = choose_packs(study, cells_of(study), "cpu", 1, None, "fused")
    assert [(pack.cells[0].factors["lr"], pack.path) for pack in packs] == [
        (1e25, "plain"), (0.1, "fused")
    ]  # fmt: skip
    (record,) = PackTraining(study, packs[0].cells, "cpu", 1, "plain")
    (other,) = PackTraining(study, packs[0].cells, "cpu", 1, "fused")
    assert (record.outcome, other.outcome) == ("diverged", "completed")


LATE = {
    "Freezes": {"model": "Freezes"},
    "ReplacesTanh": {"model": "ReplacesTanh"},
    "OtherFunction": {"model": "OtherFunction"},
    "BufferLate": {"model": "BufferLate"},
    "OldSpectral": {"model": "OldSpectral"},
    "a hook's count": {"optimizer": "strange:WarmsUp"},
    "on parameters": {"model": "logreg", "optimizer": "strange:OnParameters"},
    "in slots": {"model": "logreg", "optimizer": "strange:CountsInSlots"},
    "in defaults": {"model": "logreg", "optimizer": "strange:CountsInDefaults"},
    "gradients": {"model": "logreg", "optimizer": "strange:KeepsGradients"},
    "tuples": {"model": "logreg", "optimizer": "strange:KeepsTuples"},
    "a shared array": {"model": "SharesAnArray"},
}


@pytest.mark.parametrize("what", LATE)
def test_what_a_checkpoint_cannot_hold_is_no_checkpoint_or_goes_on_alike(what, caplog):
    study = declare(**LATE[what], lr=[0.1], task={"steps": 8})
    training = PackTraining(study, cells_of(study), "cpu", 1, "plain")
    for _ in range(4):
        training.advance()
    snapshot = training.snapshot()
    if snapshot is None:
        assert "cannot be checkpointed" in caplog.text
    else:
        assert trained(study, "plain", snapshot) == trained(study)


def test_what_a_cell_sets_for_its_process_reaches_no_other():
    study = declare("SetsTheDtype", lr=[0.05, 0.1])
    together = trained(study)
    (alone,) = PackTraining(study, cells_of(study)[1:], "cpu", 1, "plain")
    assert together[1] == alone
    assert torch.get_default_dtype() == torch.float32


def test_own_code_is_tried_where_a_step_shows():
    """At lr = 0, the first level, equal cells stay equal whatever they draw."""
    study = declare("DrawsElsewhere", lr=[0.0, 0.1])
    with pytest.raises(InputError, match="must train each cell as if it were the only one"):
        choose_packs(study, cells_of(study), "cpu", 1, None, "plain")
