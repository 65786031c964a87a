"""Models of other people: each cell starts from its own numbers, and trains all of them."""

from __future__ import annotations

import pytest
import torch
from strange import cells_of, declare

from hdsens import InputError
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.environment import training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused.fusable import obstacle_of_model
from hdsens.training.job import Job
from hdsens.training.pack import PackTraining
from hdsens.training.plain import PlainRun


def job_of(study):
    cpu = torch.device("cpu")
    return Job(study, load_examples(study.task, cpu), cpu)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", torch.complex64), ("float64", torch.complex128)]
)
def test_complex_numbers_stay_complex_in_the_precision_of_the_task(dtype, expected):
    study = declare("Spectral", task={"dtype": dtype})
    with training_environment(getattr(torch, dtype), 1):
        model = job_of(study).fresh_model(0)
    assert (model.w.dtype, model.phase.dtype) == (expected, expected)
    assert model.last.weight.dtype == getattr(torch, dtype)
    assert model.w.imag.abs().min() > 0
    assert model.phase.imag.tolist() == [1.0] * 7
    assert obstacle_of_model(model) == "parameter 'w' is complex"


def test_complex_parameters_train_in_both_of_their_parts():
    (cell,) = cells_of(declare("Spectral", lr=[0.1]))
    study = declare("Spectral", lr=[0.1])
    with training_environment(torch.float32, 1):
        run = PlainRun(job_of(study), cell, job_of(study).fresh_model(0))
        before = run.model.w.detach().clone()
        run.update(1)
    moved = run.model.w.detach() - before
    assert moved.real.abs().max() > 0
    assert moved.imag.abs().max() > 0


def refusal(study, path="plain"):
    with pytest.raises(InputError) as caught:
        choose_packs(study, cells_of(study), "cpu", 1, 4, path)
    return str(caught.value)


SHARED = "must be new at each call of its factory, but two calls share"
COPY = "give each a copy of what the module keeps, e.g. copy.deepcopy(backbone)"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("on_backbone", "0.weight"),
        ("on_frozen_backbone_with_batch_norm", "1.weight"),
        ("on_kept_weights", "2.weight"),
    ],
)
def test_a_factory_that_keeps_what_it_gives_is_refused(model, name):
    told = f"study 's': task: model 'strange:{model}' {SHARED} {name!r}; {COPY}"
    assert refusal(declare(model)) == told


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("draws_from_a_generator_of_its_own", "0.bias"),
        ("leaves_some_numbers_as_they_were", "scale"),
    ],
)
def test_a_factory_that_is_no_function_of_the_seed_is_refused(model, name):
    told = refusal(declare(model))
    rule = "must be a function of the seed, but two calls of its factory with one seed differ in"
    assert told.startswith(f"study 's': task: model 'strange:{model}' {rule} {name!r}; draw from")


def test_a_factory_that_finds_what_training_left_is_refused():
    told = refusal(declare("Updates"))
    rule = "must be new at each call of its factory, but training a model changed"
    assert f"model 'strange:Updates' {rule} 'net.0.bias' of the next; {COPY}" in told


def test_equal_beginnings_for_all_seeds_are_allowed_and_noted(caplog):
    study = declare("alike")
    choose_packs(study, cells_of(study), "cpu", 1, 4, "plain")
    assert caplog.messages == [
        "model 'strange:alike' starts alike for all seeds, which differ in their batches only"
    ]


@pytest.mark.parametrize(
    ("model", "got"),
    [
        ("Late", "['last.bias', 'last.weight']"),
        ("InAList", "['one of shape (4, 8)']"),
        ("Unregistered", "['scale']"),
    ],
)
def test_parameters_that_no_optimizer_would_train_are_refused_by_name(model, got):
    assert refusal(declare(model)) == (
        f"study 's': task: model 'strange:{model}' must have all of its parameters before it is "
        f"first called, or none trains them (got {got}); make them in __init__, or with torch's "
        "lazy modules such as nn.LazyLinear"
    )


@pytest.mark.parametrize(
    ("arm", "where"),
    [
        ({"model": "CountsForAll"}, "strange.CALLS"),
        ({"model": "CountsInItsClass"}, "strange.CountsInItsClass.passes"),
        ({"optimizer": "strange:Shares"}, "strange.Shares.moments"),
    ],
)
def test_what_one_cell_leaves_to_the_next_is_refused(arm, where):
    told = refusal(declare(**arm))
    assert "arm 'a': model and optimizer must train each cell as if it were the only one" in told
    assert f"but one cell's steps change {where} for the next; keep counts" in told


def test_a_last_minibatch_that_the_model_cannot_train_on_is_refused():
    study = declare("with_batch_norm", task={"batch_size": 17, "epochs": 1, "steps": None})
    told = refusal(study)
    assert "model 'strange:with_batch_norm' must train on a minibatch of 1, the last of an" in told
    assert "an epoch of 86 examples with batch_size = 17: ValueError: Expected more than 1" in told
    assert told.endswith("; choose a batch_size that leaves no such rest, or mend the model")
    study = declare("with_batch_norm", task={"batch_size": 17, "steps": 5})  # it never comes
    assert choose_packs(study, cells_of(study), "cpu", 1, 4, "plain")
    study = declare("with_batch_norm", factors={"batch_size": [32, 17]}, task={"steps": 6})
    assert "with batch_size = 17: ValueError" in refusal(study)


def test_a_last_evaluation_that_the_model_cannot_make_is_refused():
    study = declare("Squeezes", task={"data": "strange:many"})
    told = refusal(study)
    assert "must be evaluated on 1 examples, the last of 129 training examples: IndexError" in told


def test_an_augmentation_that_does_not_draw_from_its_generator_alone_is_refused():
    told = refusal(declare(data="shaken_by_itself"))
    assert "data set 'strange:shaken_by_itself' must augment by the generator that it is" in told


@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        ({"model": "Words", "optimizer": "Adam"}, "RuntimeError: Adam does not support sparse"),
        ({"model": "Words", "optimizer": "SGDHD"}, "RuntimeError: SGDHD: gradients must be dense"),
        ({"model": "Spectral", "optimizer": "SGDHD"}, "TypeError: SGDHD: parameters must be real"),
        ({"optimizer": "strange:NeedsMatrices"}, "ValueError: only matrices (strange.py:"),
    ],
)
def test_an_optimizer_that_cannot_step_on_the_model_is_refused(arm, reason):
    hypergrad = {"hypergrad_lr": 1e-3} if arm["optimizer"] == "SGDHD" else {}
    told = refusal(declare(**arm, **hypergrad))
    optimizer = arm["optimizer"]
    assert told.startswith(
        f"study 's': arm 'a': optimizer {optimizer} must take a first step on the model: {reason}"
    )


def test_sparse_gradients_train_as_dense_ones_do():
    task = {"model_settings": {"sparse": False}}
    sparse, dense = (
        list(PackTraining(s, cells_of(s))) for s in (declare("Words"), declare("Words", task=task))
    )
    assert {record.outcome for record in sparse} == {"completed"}
    assert sparse[1].train_loss < sparse[0].train_loss
    for one, other in zip(sparse, dense, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-6)
