"""Models that a pack may get wrong: trained as chosen, they give what the plain loop gives."""

from __future__ import annotations

import pytest
from hostile_models import MODELS
from test_fused import arm, assert_equal, cells_of

from hdsens.errors import InputError
from hdsens.study import Study
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.pack import PackTraining

ARMS = [
    arm("sgd", "SGD", (0.0, 0.1)),
    arm("hd", "SGDHD", (0.01,), hypergrad_lr=1e-3, settings={"momentum": 0.9, "nesterov": True}),
]
REFUSED = {
    "dropout_after_elu_in_place", "dropout_after_relu_in_place", "dropout1d_after_elu_in_place",
    "dropout1d_after_relu_in_place", "dropout2d_in_place", "tanh_then_relu_in_place",
    "inputs_added_in_place",
}  # fmt: skip
"""torch itself refuses them: what the gradient needs is written over."""
UNTRAINED = {"replaces_its_layer"}
"""Part of them would be trained by no optimizer; that fails by name."""
ALONE = {
    "rrelu", "rrelu_in_place", "batch_norm_cumulative", "spectral_norm", "skips_a_layer",
    "clips_its_data", "masked_in_place", "if_of_data", "item_of_data", "through_numpy",
    "checkpointed", "function_of_ones_own", "scripted", "bernoulli", "bernoulli_of_data", "gru",
    "lstm_cell", "slope_scaled", "gaussian_noise", "transformer",
}  # fmt: skip
"""They take the plain loop from the start; all others begin in a pack."""


def declare(name):
    task = {"model": "hostile_models:build", "model_settings": {"name": name},
            "data": "hostile_models:few_digits", "validation": 24, "steps": 20, "batch_size": 32,
            "weight_decay": 1e-3, "dtype": "float64"}  # fmt: skip
    trace = {"points": 8, "evaluate": [0.5, 1.0]}
    targets = {"low": {"batch_loss": 1.8}}
    study = {"name": "t", "seeds": 1, "task": task, "arms": ARMS, "trace": trace}
    return Study.from_dict({**study, "targets": targets})


def in_order(study, cells, path):
    """The records in the order of the pack, whichever cell ended first."""
    training = PackTraining(study, cells, "cpu", 1, path)
    list(training)
    return training.record().cells


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(MODELS.keys() - REFUSED - UNTRAINED))
def test_a_hostile_model_trains_as_chosen_as_in_the_plain_loop(name):
    study = declare(name)
    (pack,) = choose_packs(study, cells_of(study), "cpu", 1, 3, "fused")
    assert pack.path == ("plain" if name in ALONE else "fused")
    as_chosen, alone = (in_order(study, pack.cells, path) for path in (pack.path, "plain"))
    assert {record.outcome for record in alone} <= {"completed", "diverged"}
    assert_equal(as_chosen, alone)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_hostile_model_that_torch_refuses_fails_on_both_paths_and_is_refused(name):
    study = declare(name)
    with pytest.raises(InputError, match="must train on a minibatch: RuntimeError: one of the var"):
        choose_packs(study, cells_of(study), "cpu", 1, 3, "fused")
    for path in ("fused", "plain"):
        records = list(PackTraining(study, cells_of(study), "cpu", 1, path))
        assert {record.outcome for record in records} == {"failed"}
        assert all("modified by an inplace operation" in record.error for record in records)


@pytest.mark.parametrize("name", sorted(UNTRAINED))
def test_a_hostile_model_with_parameters_that_nothing_trains_fails_on_both_paths(name):
    study = declare(name)
    for path in ("fused", "plain"):
        records = list(PackTraining(study, cells_of(study), "cpu", 1, path))
        assert {record.outcome for record in records} == {"failed"}
        assert all("after the optimizer was made" in record.error for record in records)
