"""Which cells train together: what can be fused, and what is chosen."""

from __future__ import annotations

import pytest
import torch

from hdsens.errors import InputError
from hdsens.study import Study
from hdsens.study.cells import expand
from hdsens.training.check import examples_to_train
from hdsens.training.choosing import probe as probe_module
from hdsens.training.choosing.choice import check_path, choose_packs
from hdsens.training.choosing.dry_run import explain_layers
from hdsens.training.choosing.probe import Probe
from hdsens.training.examples import load_examples
from hdsens.training.fused import run as fused
from hdsens.training.fused.fusable import obstacle
from hdsens.training.job import EVALUATION_BATCH, Job


def declare(arms, model="logreg", seeds=1):
    task = {"model": model, "data": "digits", "steps": 20, "batch_size": 100}
    return Study.from_dict({"name": "t", "seeds": seeds, "task": task, "arms": arms})


def cells_of(study):
    return expand(study, examples_to_train(study.task))


@pytest.mark.parametrize(
    ("optimizer", "settings", "reason"),
    [
        ("SGD", {}, None),
        ("SGD", {"momentum": 0.9, "nesterov": True, "foreach": False}, None),
        ("SGDHD", {"momentum": 0.5, "dampening": 0.1}, None),
        ("Adam", {"betas": [0.5, 0.9], "eps": 1e-3}, None),
        ("AdamHD", {}, None),
        ("SGD", {"maximize": True}, "maximize = True has no fused form"),
        ("SGDHD", {"rule": "multiplicative", "lr_bounds": [0.0, 1.0]}, None),
        ("AdamHD", {"transition": [0.1, 2.0], "decoupled_weight_decay": True}, None),
        ("AdamW", {}, None),
        ("AdamW", {"amsgrad": True}, "amsgrad = True has no fused form"),
        ("Adam", {"amsgrad": True}, "amsgrad = True has no fused form"),
        ("Rprop", {}, "Rprop has no fused form"),
    ],
)  # fmt: skip
def test_what_has_no_fused_form_says_so(optimizer, settings, reason):
    study = declare([{"name": "a", "optimizer": optimizer, "settings": settings, "lr": 0.1}])
    assert obstacle(study.arms[0], study.task, {"lr": 0.1}) == reason


ARMS = [
    {"name": "sgd", "optimizer": "SGD", "lr": [0.0, 0.01, 0.1]},
    {"name": "hd", "optimizer": "SGDHD", "lr": [0.0, 0.01, 0.1], "hypergrad_lr": 1e-3},
    {"name": "rules", "optimizer": "SGDHD", "lr": [0.01], "hypergrad_lr": 1e-3,
     "factors": {"maximize": [False, True]}},
]  # fmt: skip


def shapes(packs):
    return sorted((p.path, len(p.cells)) for p in packs)


def test_only_cells_with_a_fused_form_are_fused():
    study = declare(ARMS, seeds=2)
    packs = choose_packs(study, cells_of(study), "cpu", 1, 100, "fused")
    assert shapes(packs) == [("fused", 7), ("fused", 7), ("plain", 1), ("plain", 1)]
    assert all(c.factors["maximize"] is True for p in packs if p.path == "plain" for c in p.cells)


def test_a_fixed_size_holds_and_plain_fuses_nothing():
    study = declare(ARMS)
    packs = choose_packs(study, cells_of(study), "cpu", 1, 4, "plain")
    assert shapes(packs) == [("plain", 4), ("plain", 4)]
    fused = choose_packs(study, cells_of(study), "cpu", 1, 4, "fused")
    assert shapes(fused) == [("fused", 3), ("fused", 4), ("plain", 1)]


def test_only_a_turn_of_a_pack_need_fit_into_memory(monkeypatch):
    study = declare([{"name": "sgd", "optimizer": "SGD", "lr": [0.01 * i for i in range(7)]}])
    device = torch.device("cpu")
    job = Job(study, load_examples(study.task, device), device)
    probe = Probe(job, cells_of(study), 1)
    assert probe.fused_seconds(7) > 0
    monkeypatch.setattr(probe_module, "memory_budget", lambda *_: 3.5 * probe._bytes_per_cell)
    assert probe.fused_seconds(7) is None
    monkeypatch.setattr(fused, "LARGEST_ARRAY", 3 * 4 * EVALUATION_BATCH * 10)  # turns of 3 cells
    assert probe.fused_seconds(7) > 0


def test_measuring_packs_every_cell_once():
    study = declare(ARMS, seeds=2)
    packs = choose_packs(study, cells_of(study), "cpu", 1, None, "auto")
    packed = [c.cell_id for p in packs for c in p.cells]
    assert sorted(packed) == sorted(c.cell_id for c in cells_of(study))
    assert all(len({c.seed for c in p.cells}) == 1 for p in packs)


@pytest.mark.parametrize(
    ("after", "by", "what"), [(0, 0.995, "gradients"), (1, 0.98, "parameters")]
)
def test_steps_that_the_loss_hardly_tells_are_compared_by_what_they_do(after, by, what, caplog):
    arms = [{"name": "sgd", "optimizer": "SGD", "lr": [1e-4, 2e-4, 3e-4]}]
    study = declare(arms, "fused_models:scaled")
    task = study.task.model_copy(update={"model_settings": {"after": after, "by": by}})
    study = study.model_copy(update={"task": task})
    (pack,) = choose_packs(study, cells_of(study), "cpu", 1, 3, "fused")
    assert pack.path == "plain"
    assert f"RuntimeError: together, {what} differ by " in caplog.text


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("model", ["logreg", "fused_models:norm_cnn", "fused_models:dropout_mlp"])
def test_rounding_sends_no_model_to_the_plain_loop(model, optimizer):
    arms = [{"name": "a", "optimizer": optimizer, "lr": [0.0, 1e-9, 1e-5, 1e-3, 1.0]}]
    study = declare(arms, model)
    assert choose_packs(study, cells_of(study), "cpu", 1, 5, "fused")[0].path == "fused"


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("path", ["auto", "fused"])
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("recurrent", "lstm"),
        ("fading", "buffer 'scale' is replaced instead of written into"),
        ("masked", "RuntimeError: parameter '1.weight' has a hook"),
        ("numbering", "RuntimeError: together, buffer 'calls' is "),
        ("evaluated_otherwise", "RuntimeError: together, the evaluated loss is "),
    ],
)
def test_a_model_that_trains_otherwise_in_a_pack_takes_the_plain_loop(
    model, reason, path, size, caplog
):
    study = declare(ARMS[:2], f"fused_models:{model}")
    packs = choose_packs(study, cells_of(study), "cpu", 1, size, path)
    assert {p.path for p in packs} == {"plain"}
    assert reason in caplog.text
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("path", ["auto", "fused"])
def test_an_optimizer_that_raises_takes_the_plain_loop(path):
    study = declare([{"name": "a", "optimizer": f"{__name__}:Moody", "lr": [0.1, 0.2]}])
    packs = choose_packs(study, cells_of(study), "cpu", 1, 4, path)
    assert shapes(packs) == [("plain", 2)]
    reason = obstacle(study.arms[0], study.task, {"lr": 0.2})
    place = f"(test_choice.py:{Moody.__init__.__code__.co_firstlineno + 2})"
    assert reason == f"ArithmeticError: not today {place}"


class Moody(torch.optim.SGD):
    def __init__(self, params, lr, weight_decay=0.0):
        if lr == 0.2:
            raise ArithmeticError("not today")
        super().__init__(params, lr, weight_decay=weight_decay)


def test_another_path_is_refused():
    with pytest.raises(InputError, match=r"^--path must be auto, fused or plain \(got 'vmap'\)$"):
        check_path("vmap")


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("logreg", "Linear cell-aware; Flatten as they are"),
        ("cnn", "Linear cell-aware; Conv2d, ReLU, MaxPool2d, Flatten vmap"),
        ("fused_models:dropout_mlp", "Dropout, Linear cell-aware; Flatten, Tanh as they are"),
        ("fused_models:tied_bias", "Linear cell-aware; Flatten, Tanh vmap"),
        ("fused_models:own_forward", "Linear cell-aware; Flatten, Tanh vmap"),
        ("fused_models:drop_in_place", "Linear cell-aware; Dropout vmap"),
        ("hostile_models:frozen_layer", "Linear cell-aware; Flatten, Tanh vmap"),
        ("hostile_models:hooked_in_place", "Linear cell-aware; Flatten, Linear, Tanh vmap"),
        ("hostile_models:relu_in_place", "Linear cell-aware; Flatten, ReLU as they are"),
        ("hostile_models:own_relu_in_place", "Linear cell-aware"),
    ],
)
def test_a_plan_shows_how_each_kind_of_layer_runs(model, text):
    assert explain_layers(plan_of(model)) == text


def plan_of(model):
    """A study of a model, of which hostile ones have a name as their setting."""
    if not model.startswith("hostile_models:"):
        return declare(ARMS, model)
    study = declare(ARMS, "hostile_models:build")
    settings = {"model_settings": {"name": model.partition(":")[2]}}
    return study.model_copy(update={"task": study.task.model_copy(update=settings)})


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("fused_models:recurrent", "RuntimeError: Batching rule not implemented for aten::lstm"),
        ("fused_models:masked", "RuntimeError: parameter '1.weight' has a hook, which would get"),
        ("fused_models:scaled", "RuntimeError: together, gradients differ by "),
        ("fused_models:rooted", "RuntimeError: together, gradients differ by nan, alone they are "),
        ("fused_models:numbering", "RuntimeError: together, buffer 'calls' is "),
        ("fused_models:evaluated_otherwise", "RuntimeError: together, the evaluated loss is "),
        ("hostile_models:gaussian_noise", "RuntimeError: together, the first loss is "),
        ("hostile_models:through_numpy", "RuntimeError: Cannot access data pointer"),
    ],
)
def test_a_plan_says_that_and_why_a_model_takes_the_plain_loop(model, reason):
    assert explain_layers(plan_of(model)).startswith(f"the plain loop, because of {reason}")


def test_a_plan_names_a_model_that_nothing_can_train():
    told = "none, because the model raises ValueError: no (test_choice.py:"
    assert explain_layers(declare(ARMS, f"{__name__}:raises")).startswith(told)
    with pytest.raises(InputError, match=r"^study 't': task: model 'test_choice:empty' must have"):
        explain_layers(declare(ARMS, f"{__name__}:empty"))


def raises():
    raise ValueError("no")


def empty():
    return torch.nn.Flatten()
