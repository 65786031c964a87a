"""Models of other people: each cell starts from its own numbers, and trains all of them."""

from __future__ import annotations

import pytest
import torch
from strange import cells_of, declare

from hdsens.training.environment import training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused.fusable import obstacle_of_model
from hdsens.training.job import Job


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
        from hdsens.training.plain import PlainRun

        run = PlainRun(job_of(study), cell, job_of(study).fresh_model(0))
        before = run.model.w.detach().clone()
        run.update(1)
    moved = run.model.w.detach() - before
    assert moved.real.abs().max() > 0
    assert moved.imag.abs().max() > 0
