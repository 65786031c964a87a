"""The fused path against the plain loop, which is its oracle.

Losses and lr of every optimizer and rule on every model, lr = 0, diverging neighbours, a short last
batch: `test_a_pack_gives_what_the_plain_loop_gives`. Weights and running statistics: the test after
it. Packs of 1 and 97, neighbours, cells that leave, float32 and the quickstart: those that say so.
Models that a pack may get wrong: test_hostile.py. Going on from snapshots: test_snapshots.py.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hdsens.study import Study
from hdsens.study.cells import expand
from hdsens.study.packs import pack_cells
from hdsens.training.check import examples_to_train
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.environment import training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused import run as fused_path
from hdsens.training.fused.fusable import obstacle
from hdsens.training.fused.run import FusedRun, split_into_turns, train_fused
from hdsens.training.job import EVALUATION_BATCH, Job
from hdsens.training.pack import PackTraining
from hdsens.training.plain import PlainRun, train_cells

NESTEROV = {"momentum": 0.9, "nesterov": True}
PATHS = ("fused", "plain")
NUMBERS = ("initial_loss", "train_loss", "valid_loss", "valid_accuracy", "best_valid_loss",
           "lr_final", "lr_max", "lr_min", "lr", "batch_loss")  # fmt: skip


def arm(name, optimizer, lr=(0.0, 0.01), **more):
    return {"name": name, "optimizer": optimizer, "lr": list(lr), **more}


SGD_ARMS = [
    arm("sgd", "SGD", (0.0, 1e-3, 0.1)),
    arm("hd", "SGDHD", baseline="sgd", lr=(0.0, 0.1), hypergrad_lr=[1e-3]),
    arm("wild", "SGDHD", lr=[0.1], hypergrad_lr=[1e4]),
    arm("nesterov", "SGDHD", hypergrad_lr=[1e-3], settings=NESTEROV),
    arm("heavy", "SGDHD", hypergrad_lr=[1e-4], settings={"momentum": 0.8, "dampening": 0.3}),
    arm("clipped", "SGD", clip_grad_norm=0.3, schedule="inv_sqrt"),
    arm("decays", "SGD", factors={"weight_decay": [0.0, 0.01]}, settings=NESTEROV),
]
ADAM_ARMS = [
    arm("adam", "Adam", (0.0, 1e-3)),
    arm("hd", "AdamHD", (0.0, 1e-3), baseline="adam", hypergrad_lr=[1e-7, 1e-5]),
    arm("betas", "AdamHD", (1e-3,), hypergrad_lr=1e-6, settings={"betas": [0.5, 0.9], "eps": 0.1}),
    arm("clipped", "AdamHD", (0.01,), hypergrad_lr=0.0, clip_grad_norm=0.3, schedule="inv_sqrt"),
    arm("wild", "AdamHD", [0.1], hypergrad_lr=[1e300]),
]
MODELS = {
    "logreg": ("logreg", {}),
    "mlp": ("mlp", {"width": 16}),
    "cnn": ("fused_models:norm_cnn", {}),
    "residual": ("fused_models:residual", {}),
    "dropout": ("fused_models:residual", {"p": 0.4}),
    "chain": ("fused_models:dropout_mlp", {}),
}


def declare(arms, model="logreg", settings=None, *, steps=200, dtype="float64", **more):
    task = {"model": model, "model_settings": settings or {}, "data": "digits", "steps": steps,
            "dtype": dtype, "batch_size": 100, "weight_decay": 1e-3}  # fmt: skip
    targets = {"low": {"batch_loss": 0.5}, "half": {"batch_loss": 1.2}}
    return Study.from_dict(
        {"name": "t", "seeds": 1, "task": task, "arms": arms, "targets": targets, **more}
    )


def cells_of(study):
    return expand(study, examples_to_train(study.task))


def open_job(study):
    device = torch.device("cpu")
    return Job(study, load_examples(study.task, device), device)


def both(study, cells=None):
    cells = cells or cells_of(study)
    with training_environment(getattr(torch, study.task.dtype), 1):
        job = open_job(study)
        return train_fused(job, cells), list(train_cells(job, cells))


def assert_equal(fused, plain, rel=1e-9):
    assert [r.cell for r in fused] == [r.cell for r in plain]
    for a, b in zip(fused, plain, strict=True):
        of_a, of_b = ((r.outcome, r.diverged_step, r.steps_run, dict(r.steps_to)) for r in (a, b))
        assert of_a == of_b, a.cell
        assert [p.step for p in a.trace] == [p.step for p in b.trace]
        for x, y in [(a, b), *zip(a.trace, b.trace, strict=True)]:
            for name in NUMBERS:
                got, want = getattr(x, name, None), getattr(y, name, None)
                assert (got is None) == (want is None), (name, a.cell)
                if want is not None:
                    where = (name, a.cell, getattr(x, "step", None))
                    assert got == pytest.approx(want, rel=rel, abs=0), where


@pytest.mark.parametrize("arms", [SGD_ARMS, ADAM_ARMS], ids=["sgd", "adam"])
@pytest.mark.parametrize("model", MODELS)
def test_a_pack_gives_what_the_plain_loop_gives(model, arms):
    fused, plain = both(declare(arms, *MODELS[model], steps=40))
    assert_equal(fused, plain)
    assert any(r.cell.factors["lr"] == 0 for r in fused)
    assert {r.outcome for r in fused} == {"completed", "diverged"}


def varied(optimizer, *variants, lr=(0.0, 1e-3, 0.01), **more):
    """An arm as it is, one with decay, clipping and schedule, and one for each of the settings."""
    decays = {"weight_decay": [0.0, 0.05]}
    return [
        arm("plain", optimizer, lr, **more),
        arm("decays", optimizer, factors=decays, clip_grad_norm=0.3, schedule="inv_sqrt", **more),
        *(arm(f"v{i}", optimizer, settings=v, **more) for i, v in enumerate(variants)),
    ]


DECOUPLED = {"decoupled_weight_decay": True, "weight_decay": 0.1}
TURNS = {"rule": "multiplicative"}
BOUNDED, MOVES = {"lr_bounds": [0.0, 0.0101]}, {"transition": [0.03, 0.7]}
FURTHER_ARMS = {
    "AdamW": [*varied("AdamW", {"betas": [0.5, 0.9], "eps": 0.1, "weight_decay": 0.5}),
              arm("hd", "AdamHD", hypergrad_lr=1e-6, settings=DECOUPLED),
              arm("wild", "AdamHD", [0.1], hypergrad_lr=[1e300])],
    "SGDHD": [*varied("SGDHD", TURNS, BOUNDED, MOVES, TURNS | BOUNDED, TURNS | MOVES | NESTEROV,
                      hypergrad_lr=1e-3),
              arm("turns", "SGDHD", settings=TURNS, hypergrad_lr=[0.02, 0.3]),
              arm("wild", "SGDHD", [0.1], hypergrad_lr=[1e4])],
    "AdamHD": [*varied("AdamHD", TURNS, BOUNDED, MOVES, TURNS | BOUNDED, DECOUPLED | TURNS | MOVES,
                       hypergrad_lr=1e-5),
               arm("turns", "AdamHD", settings=TURNS, hypergrad_lr=[0.02, 0.3])],
    "RMSprop": varied("RMSprop", {"momentum": 0.9}, {"centered": True, "alpha": 0.9, "eps": 1e-3},
                      {"centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    "Adagrad": varied("Adagrad", {"lr_decay": 0.1, "eps": 1e-3, "initial_accumulator_value": 0.2}),
    "Adamax": varied("Adamax", {"betas": [0.5, 0.9], "eps": 1e-3}),
    "NAdam": varied("NAdam", {"momentum_decay": 0.1, "betas": [0.5, 0.9], "eps": 0.1}, DECOUPLED),
    "RAdam": varied("RAdam", {"betas": [0.5, 0.9], "eps": 0.1}, {"betas": [0.5, 0.5]}, DECOUPLED),
}  # fmt: skip


@pytest.mark.parametrize("rule", FURTHER_ARMS)
def test_every_further_rule_gives_what_the_plain_loop_gives(rule):
    study = declare(FURTHER_ARMS[rule], *MODELS["logreg"], steps=60)
    for one in study.arms:
        assert obstacle(one, study.task, cells_of(study)[0].factors | {"lr": 0.01}) is None
    fused, plain = both(study)
    assert_equal(fused, plain)
    assert {r.outcome for r in fused} == ({"completed"} | ({"diverged"} if "wild" in [
        a["name"] for a in FURTHER_ARMS[rule]] else set()))  # fmt: skip


@pytest.mark.parametrize("rule", FURTHER_ARMS)
def test_a_further_rule_goes_on_bit_for_bit(rule):
    study = declare(FURTHER_ARMS[rule], *MODELS["chain"], steps=20)
    whole = list(PackTraining(study, cells_of(study), "cpu", 1, "fused"))
    training = PackTraining(study, cells_of(study), "cpu", 1, "fused")
    for _ in range(9):
        training.advance()
    snapshot = training.snapshot()
    backwards = dict(sorted(snapshot.arrays.items(), reverse=True))  # a file keeps no order
    snapshot = replace(snapshot, arrays=backwards)
    assert list(PackTraining(study, cells_of(study), "cpu", 1, "fused", snapshot)) == whole


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_numbers_near_the_end_of_float32_diverge_at_the_same_step(rule):
    """Squares of gradients overflow long before parameters do."""
    arms = [arm("base", rule, (0.0, 1.0, 1e10, 1e20, 1e30, 1e39))]
    fused, plain = both(declare(arms, "mlp", {"width": 8}, steps=12, dtype="float32"))
    ends = [[(r.outcome, r.diverged_step) for r in records] for records in (fused, plain)]
    assert ends[0] == ends[1]
    assert {outcome for outcome, _ in ends[0]} == {"completed", "diverged"}


@pytest.mark.parametrize("arms", [SGD_ARMS, ADAM_ARMS], ids=["sgd", "adam"])
@pytest.mark.parametrize("model", MODELS)
def test_weights_and_running_statistics_are_those_of_the_plain_loop(model, arms):
    study = declare([a for a in arms if a["name"] != "wild"], *MODELS[model])
    cells = cells_of(study)
    with training_environment(torch.float64, 1):
        job = open_job(study)
        fused = FusedRun(job, cells)
        for _ in range(40):
            fused.update()
        for row in (0, 2, len(cells) - 1):
            alone = PlainRun(job, cells[row], job.fresh_model(0))
            for step in range(1, 41):
                alone.update(step)
            stacked = {**fused.stack.parameters, **fused.stack.buffers}
            for name, tensor in alone.model.state_dict().items():
                if name in stacked:
                    torch.testing.assert_close(stacked[name][row], tensor, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("n_cells", [1, 97])
def test_packs_of_one_and_of_ninety_seven(n_cells):
    levels = [round(1e-4 * 1.07**i, 8) for i in range(n_cells)]
    study = declare([arm("hd", "SGDHD", levels, hypergrad_lr=1e-3, settings=NESTEROV)])
    cells = cells_of(study)
    with training_environment(torch.float64, 1):
        job = open_job(study)
        fused = train_fused(job, cells)
        sample = slice(None, None, 24)
        assert_equal(fused[sample], list(train_cells(job, cells[sample])))
    assert len(fused) == n_cells


def test_a_cell_does_not_depend_on_its_neighbours():
    study = declare(SGD_ARMS, *MODELS["dropout"])
    cells = cells_of(study)
    with training_environment(torch.float64, 1):
        job = open_job(study)
        together = train_fused(job, cells)
        assert_equal(train_fused(job, cells[1:4]), together[1:4])


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_cells_that_reached_every_target_leave_and_the_others_go_on(rule):
    levels = [0.0, 0.003, 0.01, 0.03, 0.1, 0.3]
    arms = [arm("base", rule, levels), arm("hd", f"{rule}HD", levels, hypergrad_lr=1e-3)]
    study = declare(arms, *MODELS["cnn"], stop={"when": "targets"}, trace={"points": 7})
    fused, plain = both(study)
    assert_equal(fused, plain)
    assert len({r.steps_run for r in fused}) > 3


def test_a_cell_that_reaches_its_targets_on_an_evaluation_step_ends_there():
    study = declare(
        [arm("sgd", "SGD", [0.0, 0.03, 0.1])],
        stop={"when": "targets"},
        trace={"points": 3, "evaluate": [0.2, 1.0]},
    )
    plain = both(study)[1]
    reached = plain[2].steps_run
    share = reached / 200
    at_once = {"points": 3, "evaluate": [share, 1.0]}
    study = declare([arm("sgd", "SGD", [0.0, 0.03, 0.1])], stop={"when": "targets"}, trace=at_once)
    fused, plain = both(study)
    assert plain[2].steps_run == reached < 200
    assert_equal(fused, plain)


def test_a_buffer_replaced_late_in_training_sends_the_pack_to_the_plain_loop(caplog):
    study = declare([arm("sgd", "SGD", [0.0, 0.1])], "fused_models:fading", {"after": 15}, steps=20)
    fused = list(PackTraining(study, cells_of(study), "cpu", 1, "fused"))
    assert fused == list(PackTraining(study, cells_of(study), "cpu", 1, "plain"))
    assert "2 cells go on one by one: RuntimeError: buffer 'scale' is replaced" in caplog.text


def test_single_precision_gives_the_same_outcomes_and_first_passages():
    levels = [0.0, 1e-4, 1e-2, 0.1]
    arms = [
        arm("hd", "SGDHD", levels, hypergrad_lr=[1e-4, 1e-2]),
        arm("wild", "SGDHD", [1.0], hypergrad_lr=1e6),
    ]
    assert_equal(*both(declare(arms, dtype="float32", steps=100)), rel=1e-3)


def test_the_quickstart_gives_the_same_outcomes_and_first_passages():
    """Losses to 1e-3 where lr stays at 1 or below; above, rounding grows from step to step."""
    text = (Path(__file__).parents[2] / "studies" / "quickstart.toml").read_text()
    data = tomllib.loads(text)
    data["seeds"] = 1
    data["task"]["epochs"] = 2
    data["targets"] = {"low": {"batch_loss": 0.29}, "half": {"batch_loss": 1.2}}
    for arm_ in data["arms"]:
        arm_["lr"] = [0.0, 1e-4, 0.01, 0.1, 1.0, 10.0]
    study = Study.from_dict(data)
    by_path = [
        {r.cell.cell_id: r for pack in pack_cells(cells_of(study), study, 1000, path)
         for r in PackTraining(study, pack.cells, "cpu", 1, path)}
        for path in ("fused", "plain")
    ]  # fmt: skip
    fused, plain = ([by_id[c.cell_id] for c in cells_of(study)] for by_id in by_path)
    facts = [
        [(r.outcome, r.diverged_step, r.steps_run, r.steps_to) for r in x] for x in (fused, plain)
    ]
    assert facts[0] == facts[1]
    calm = [i for i, r in enumerate(plain) if r.lr_max is not None and r.lr_max <= 1]
    assert len(calm) > len(plain) / 2
    assert_equal([fused[i] for i in calm], [plain[i] for i in calm], rel=1e-3)


def test_a_non_finite_lr_ends_the_cell_at_its_step():
    study = declare(
        [arm("hd", "SGDHD", [0.1, 1e-3], hypergrad_lr=[1e300, 1e-3])], "mlp", {"width": 8}
    )
    fused, plain = both(study)
    assert_equal(fused, plain)
    assert sorted(r.outcome for r in fused) == ["completed", "completed", "diverged", "diverged"]


@pytest.mark.parametrize("model", ["recurrent", "picky"])
def test_what_cannot_train_together_trains_one_by_one(model):
    levels = [0.0, 0.01, 1e4]
    study = declare([arm("sgd", "SGD", levels)], f"fused_models:{model}", steps=20)
    fused = list(PackTraining(study, cells_of(study), "cpu", 1, "fused"))
    plain = list(PackTraining(study, cells_of(study), "cpu", 1, "plain"))
    assert fused == plain
    outcomes = [r.outcome for r in fused]
    assert outcomes[:2] == ["completed"] * 2
    if model == "picky":
        assert outcomes[2] == "failed"
        assert fused[2].error.startswith("ArithmeticError: large outputs (fused_models.py:")


@pytest.mark.parametrize("path", ["plain", "fused"])
def test_a_model_that_writes_into_its_inputs_leaves_the_data_alone(path):
    study = declare([arm("sgd", "SGD", [0.0, 0.1])], "fused_models:in_place", steps=5)
    examples = load_examples(study.task, torch.device("cpu"))
    before = [split.inputs.clone() for split in (examples.train, examples.valid)]
    cells = cells_of(study)
    assert {p.path for p in choose_packs(study, cells, "cpu", 1, 2, path)} == {path}
    zero, other = PackTraining(study, cells, "cpu", 1, path)
    assert zero.train_loss == pytest.approx(zero.initial_loss, rel=1e-12)
    assert other.train_loss < other.initial_loss
    for split, kept in zip((examples.train, examples.valid), before, strict=True):
        assert torch.equal(split.inputs, kept)


@pytest.mark.parametrize("after", [False, True])
def test_a_hook_on_a_parameter_is_obeyed(after, caplog):
    study = declare([arm("sgd", "SGD", [1e-3, 0.1])], "fused_models:masked", {"after": after})
    fused, plain = (list(PackTraining(study, cells_of(study), "cpu", 1, p)) for p in PATHS)
    assert fused == plain
    assert "parameter '1.weight' has a hook, which would get lost" in caplog.text


HOOKS = ("forward", "before forward", "backward", "before backward")


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        *(
            (name, {})
            for name in (
                "tied_bias",
                "tensor_bias",
                "own_forward",
                "drop_in_place",
                "batch_evaluated",
            )
        ),
        *(("hooked", {"kind": kind}) for kind in HOOKS),
    ],
)
def test_what_a_layer_does_beside_its_class_counts_in_a_pack_as_alone(model, settings):
    arms = [arm("sgd", "SGD", [0.01, 0.1])]
    study = declare(arms, f"fused_models:{model}", settings, steps=20)
    fused, plain = (list(PackTraining(study, cells_of(study), "cpu", 1, p)) for p in PATHS)
    assert {record.outcome for record in plain} == {"completed"}
    assert_equal(fused, plain)


def test_an_interrupt_leaves_the_cells_that_had_ended():
    levels = [0.0, 0.01, 1e300]  # the last one diverges long before
    study = declare([arm("sgd", "SGD", levels)], "fused_models:interrupted", steps=200)
    ready = []
    training = PackTraining(study, cells_of(study), "cpu", 1, "fused")
    with pytest.raises(KeyboardInterrupt):
        ready.extend(record.outcome for record in training)
    assert [record.outcome for record in training.record().cells] == ["diverged"]


def test_an_interrupt_between_two_records_leaves_all_that_had_ended():
    study = declare([arm("sgd", "SGD", [0.0, 0.01, 0.1])], "logreg", steps=5)
    training = PackTraining(study, cells_of(study), "cpu", 1, "fused")
    next(iter(training))
    assert len(training.record().cells) == 3


def test_weights_from_other_generators_follow_the_seed_too():
    study = declare([arm("sgd", "SGD", [0.0])], "fused_models:drawn_elsewhere", steps=1)
    first, second = (list(PackTraining(study, cells_of(study), "cpu", 1, p)) for p in PATHS)
    assert first[0].initial_loss == second[0].initial_loss


def test_what_a_model_draws_from_any_generator_follows_seed_and_step_alone():
    levels = [0.0, 0.01, 0.1]
    study = declare([arm("sgd", "SGD", levels)], "fused_models:drawing", steps=20)
    fused, plain = (list(PackTraining(study, cells_of(study), "cpu", 1, p)) for p in PATHS)
    assert_equal(fused, plain)
    assert_equal(list(PackTraining(study, cells_of(study)[2:], "cpu", 1, "fused")), plain[2:])
    losses = [point.batch_loss for point in fused[0].trace]  # at lr = 0
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize(
    ("model", "settings", "sizes"),
    [("logreg", {}, [3, 3, 1]), ("mlp", {"width": 200}, [1] * 7)],
    ids=["by logits", "by weights of 200 x 200"],
)
def test_a_pack_too_large_for_the_c_library_to_keep_its_arrays_trains_in_turns(
    model, settings, sizes, monkeypatch
):
    monkeypatch.setattr(fused_path, "LARGEST_ARRAY", 3 * 8 * EVALUATION_BATCH * 10 + 8)
    levels = [0.0, 1e-3, 0.01, 0.03, 0.1, 0.3, 1e300]
    study = declare([arm("sgd", "SGD", levels)], model, settings, steps=20)
    turns = split_into_turns(open_job(study), cells_of(study))
    assert [len(turn) for turn in turns] == sizes
    assert [cell for turn in turns for cell in turn] == list(cells_of(study))
    fused, plain = (list(PackTraining(study, cells_of(study), "cpu", 1, p)) for p in PATHS)
    assert_equal(sorted(fused, key=lambda r: r.cell.factors["lr"]), plain)


@pytest.mark.parametrize("times", [1, 3])
def test_out_of_memory_halves_the_pack(times, tmp_path, caplog):
    marker = tmp_path / "marker"
    marker.write_text("")
    settings = {"marker": str(marker), "times": times}
    study = declare(
        [arm("sgd", "SGD", [0.0, 0.1, 0.2, 0.3])], "fused_models:hungry", settings, steps=20
    )
    hungry = list(PackTraining(study, cells_of(study), "cpu", 1, "fused"))
    assert [len(r.trace) > 0 for r in hungry] == [True] * 4
    assert [r.outcome for r in hungry] == ["completed"] * 4
    assert len(marker.read_text()) == times
    halvings = [m for m in caplog.messages if m.startswith("out of memory: ")]
    assert halvings[0] == "out of memory: 4 cells go on in two packs"
    assert not any("one by one" in m for m in caplog.messages) or times == 3
    assert math.isfinite(hungry[3].train_loss)


def test_an_allocation_that_fails_halves_the_pack_too(caplog):
    study = declare([arm("sgd", "SGD", [0.0, 0.1, 0.2])], "fused_models:greedy", steps=5)
    fused = list(PackTraining(study, cells_of(study), "cpu", 1, "fused"))
    assert [r.outcome for r in fused] == ["completed"] * 3
    assert caplog.messages == ["out of memory: 3 cells go on in two packs"]


def test_cells_that_ended_before_a_failure_keep_their_records(caplog):
    levels = [0.0, 0.01, 1e300]  # the last one diverges long before the model raises
    study = declare([arm("sgd", "SGD", levels)], "fused_models:late", steps=90, trace={"points": 9})
    fused = list(PackTraining(study, cells_of(study), "cpu", 1, "fused"))
    assert [r.outcome for r in fused] == ["diverged", "completed", "completed"]
    assert "2 cells go on one by one: RuntimeError: not together" in caplog.text
    plain = list(PackTraining(study, cells_of(study), "cpu", 1, "plain"))
    assert_equal([*fused[1:], fused[0]], plain)
