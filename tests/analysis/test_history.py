"""What is declared after confirmatory cells have run makes a verdict exploratory; tasks apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hdsens.analysis import Verdict, against, join_cells, regret_table, verdict
from hdsens.errors import InputError
from hdsens.records import CellRecord, PackRecord, TracePoint
from hdsens.store import Store, read_results
from hdsens.store.declared import declaration
from hdsens.study import Study
from hdsens.study.cells import expand

N_TRAIN = 1293
LR = {"zero": True, "log10": [-3, 0], "per_decade": 1}
DECLARED: dict[str, Any] = {
    "name": "frozen",
    "seeds": 10,
    "task": {"model": "logreg", "data": "digits", "steps": 12},
    "protocol": {
        "pilot_seeds": [100, 101, 102],
        "primary": {"sgd_hd": {"hypergrad_lr": 1e-2}},
    },
    "arms": [
        {"name": "sgd", "optimizer": "SGD", "lr": LR},
        {"name": "sgd_hd", "optimizer": "SGDHD", "baseline": "sgd", "lr": LR,
         "hypergrad_lr": [1e-2, 1e-1]},
    ],
}  # fmt: skip
Change = Callable[[dict[str, Any]], None]


def declared(*changes: Change) -> dict[str, Any]:
    told = copy.deepcopy(DECLARED)
    for change in changes:
        change(told)
    return told


def train(folder: Path, told: dict[str, Any], seeds: range | None = None) -> None:
    """Do what `run` does, with losses from a formula: declare, keep the run, append its cells."""
    study, store = Study.from_dict(told), Store(folder)
    store.begin(study, N_TRAIN)
    have = store.outcomes()
    cells = [c for c in expand(study, N_TRAIN) if c.cell_id not in have]
    cells = [c for c in cells if seeds is None or c.seed in seeds]
    if not cells:
        return
    began = pd.Timestamp.now(tz="UTC").isoformat()
    run_id = f"{len(store.runs()):04d}"
    store.write_run({"run_id": run_id, "started_at": began, "declared": declaration(study)})
    records = tuple(
        CellRecord(cell, "completed", steps_run=12, initial_loss=2.3, train_loss=loss(cell), trace=
                   (TracePoint(step=1, epoch=0.1, lr=0.5, batch_loss=2.0),))
        for cell in cells
    )  # fmt: skip
    store.append(study, PackRecord(records, 1.0, "cpu", "float32", "2.13.0"))


def loss(cell: Any) -> float:
    noise = 1e-3 * np.random.default_rng([cell.seed, int(cell.factors["lr"] * 1000)]).random()
    best = {1e-3: 2.0, 1e-2: 1.0, 1e-1: 0.3, 1.0: 1.5}.get(cell.factors["lr"], 2.3)
    return float((0.3 if cell.arm == "sgd_hd" else best) + noise)


def judge(*folders: Path) -> Verdict:
    read = [read_results(folder) for folder in folders]
    return verdict(join_cells([r.cells for r in read]), read[0].study.protocol)


def set_primary(level: float) -> Change:
    return lambda told: told["protocol"].update(primary={"sgd_hd": {"hypergrad_lr": level}})


def drop_protocol(told: dict[str, Any]) -> None:
    del told["protocol"]


def test_a_protocol_that_stood_from_the_start_gives_a_confirmatory_verdict(tmp_path: Path) -> None:
    """Also when the run was cut off and went on, and when the pilot seeds ran first."""
    train(tmp_path, declared(), range(100, 103))
    train(tmp_path, declared(), range(5))
    train(tmp_path, declared())
    result = judge(tmp_path)
    assert (result.label, result.deviations) == ("confirmatory", ())
    assert set(result.parts.query("primary")["verdict"]) == {"supported"}


def test_what_is_fixed_after_the_pilot_and_before_the_rest_is_fixed_in_time(tmp_path: Path) -> None:
    train(tmp_path, declared(set_primary(1e-1)), range(100, 103))
    train(tmp_path, declared())
    assert judge(tmp_path).label == "confirmatory"


def test_the_order_in_which_results_are_joined_does_not_matter(tmp_path: Path) -> None:
    """Levels that a second folder adds, once the first has been seen, are declared too late."""

    def more_levels(told: dict[str, Any]) -> None:
        for arm in told["arms"]:
            arm["lr"] = {"zero": True, "log10": [-3, 1], "per_decade": 1}

    train(tmp_path / "first", declared())
    train(tmp_path / "second", declared(more_levels))
    folders = [tmp_path / "first", tmp_path / "second"]
    one, other = judge(*folders), judge(*reversed(folders))
    assert one.label == other.label == "exploratory"
    assert set(one.deviations) == set(other.deviations)


LATER: dict[str, tuple[Change, Change, str]] = {
    "protocol": (
        drop_protocol, lambda told: None, "protocol changed after confirmatory cells had run"),
    "primary": (
        set_primary(1e-1), lambda told: None,
        "protocol changed after confirmatory cells had run (primary)"),
    "margins": (
        lambda told: None, lambda told: told["protocol"].update(margins={"best": 0.1}),
        "protocol changed after confirmatory cells had run (margins)"),
    "more seeds": (
        lambda told: None, lambda told: told.update(seeds=20),
        "seeds changed after confirmatory cells had run (added: 10 to 19)"),
    "fewer seeds": (
        lambda told: told.update(seeds=11), lambda told: None,
        "seeds changed after confirmatory cells had run (dropped: 10)"),
    "levels": (
        lambda told: None,
        lambda told: [arm.update(lr={**LR, "log10": [-6, 0]}) for arm in told["arms"]],
        "arms changed after confirmatory cells had run (sgd, sgd_hd)"),
    "roles": (
        lambda told: told.update(seeds=[*range(8)], protocol=
            {**told["protocol"], "pilot_seeds": [8, 9, 100, 101, 102]}),
        lambda told: None,
        "seeds 8, 9 were trained as pilot and are judged as confirmatory"),
}  # fmt: skip


@pytest.mark.parametrize("name", LATER)
def test_what_is_declared_after_the_fact_is_named_and_explores(tmp_path: Path, name: str) -> None:
    first, then, message = LATER[name]
    train(tmp_path, declared(first))
    train(tmp_path, declared(then))
    result = judge(tmp_path)
    assert result.label == "exploratory"
    assert any(message in text for text in result.deviations), result.deviations
    assert str(result).startswith("Verdict (exploratory)")


def test_a_look_before_all_declared_seeds_have_run_explores(tmp_path: Path) -> None:
    """Ten of twenty seeds are a number that the protocol allows, and not the one that was fixed."""
    twenty = declared(lambda told: told.update(seeds=20))
    train(tmp_path, twenty, range(100, 103))
    train(tmp_path, twenty, range(10))
    result = judge(tmp_path)
    assert result.label == "exploratory"
    assert (
        "task 'logreg on digits': seeds 10 to 19 are declared and have no cells"
    ) in result.deviations
    train(tmp_path, twenty)
    assert judge(tmp_path).label == "confirmatory"


def test_a_level_that_no_cell_has_yet_is_said(tmp_path: Path) -> None:
    train(tmp_path, declared())
    read = read_results(tmp_path)
    result = verdict(read.cells[read.cells["lr"] != 1.0], read.study.protocol)
    assert result.label == "exploratory"
    assert "task 'logreg on digits': arm sgd: lr 1.0 is declared and has no cells" in (
        result.deviations
    )


def test_an_arm_that_is_added_later_changes_nothing_about_the_others(tmp_path: Path) -> None:
    train(tmp_path, declared())
    adam = {"name": "adam", "optimizer": "Adam", "lr": 0.1}
    train(tmp_path, declared(lambda told: told["arms"].append(adam)))
    assert judge(tmp_path).label == "confirmatory"


def test_runs_that_kept_no_declaration_cannot_show_that_it_stood(tmp_path: Path) -> None:
    train(tmp_path, declared())
    store = Store(tmp_path)
    store.write_run({"run_id": "0000", "started_at": "2026-01-01T00:00:00+00:00"})
    result = judge(tmp_path)
    assert result.label == "exploratory"
    assert "is not recorded" in result.deviations[0]


def test_a_baseline_chosen_afterwards_explores(tmp_path: Path) -> None:
    train(tmp_path, declared())
    read = read_results(tmp_path)
    cells = against(read.cells[read.cells["hypergrad_lr"] != 0.1], "sgd", "sgd_hd")
    result = verdict(cells, read.study.protocol)
    assert result.label == "exploratory"
    assert any("arm sgd: baseline sgd_hd is not the declared None" in d for d in result.deviations)


SETTINGS: dict[str, tuple[Change, str]] = {
    "batch size": (lambda told: told["task"].update(batch_size=32), "batch_size = 32"),
    "steps": (lambda told: told["task"].update(steps=24), "steps = 24"),
    "weight decay": (lambda told: told["task"].update(weight_decay=1e-3), "weight_decay = 1e-3"),
    "validation": (lambda told: told["task"].update(validation="test"), "validation = test"),
    "dtype": (lambda told: told["task"].update(dtype="float64"), "dtype = float64"),
    "seeds": (lambda told: told.update(seeds=[*range(50, 60)]), "seeds = 50 to 59"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_tasks_of_one_label_are_told_apart_by_what_differs(tmp_path: Path, name: str) -> None:
    change, told = SETTINGS[name]
    train(tmp_path / "a", declared())
    train(tmp_path / "b", declared(change))
    result = judge(tmp_path / "a", tmp_path / "b")
    tasks = set(result.parts["task"])
    assert len(tasks) == 2
    assert f"logreg on digits ({told})" in tasks
    assert set(result.parts["n_seeds"]) == {10}
    assert result.joint["n_tasks"].item() == 2
    if name != "seeds":  # there the pilot cells are the same ones, and count once
        assert result.label == "confirmatory"


def test_a_cell_of_two_results_counts_once(tmp_path: Path) -> None:
    train(tmp_path / "a", declared())
    train(tmp_path / "b", declared(lambda told: told["arms"].append(
        {"name": "adam", "optimizer": "Adam", "lr": LR})))  # fmt: skip
    one = judge(tmp_path / "a")
    both = judge(tmp_path / "a", tmp_path / "b")
    pd.testing.assert_frame_equal(one.parts, both.parts)
    n_cells = 13 * 5 * 4
    assert (both.account.expected, both.account.used, both.account.missing) == (n_cells, n_cells, 0)
    again = join_cells([read_results(tmp_path / "a").cells] * 2)
    assert regret_table(again).attrs["accounting"]["expected"] == 13 * 5 * 3


def test_an_arm_that_two_results_declare_differently_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "a", declared())
    train(tmp_path / "b", declared(lambda told: told["arms"][0].update(settings={"momentum": 0.9})))
    with pytest.raises(InputError, match=(
        r"results: task 'logreg on digits': arm 'sgd': settings must be the same in every result, "
        r"\{\} \(got \{'momentum': 0.9\}\); rename one of the two arms"
    )):  # fmt: skip
        judge(tmp_path / "a", tmp_path / "b")


def test_results_under_different_protocols_are_said(tmp_path: Path) -> None:
    train(tmp_path / "a", declared())
    train(tmp_path / "b", declared(set_primary(1e-1), lambda told: told["task"].update(steps=24)))
    result = judge(tmp_path / "a", tmp_path / "b")
    assert result.label == "exploratory"
    assert (
        "task 'logreg on digits (steps = 24)': judged by another protocol than the one its study"
        " declares"
    ) in result.deviations


def test_an_arm_that_differs_between_tasks_is_said(tmp_path: Path) -> None:
    train(tmp_path / "a", declared())
    train(tmp_path / "b", declared(lambda told: told["task"].update(steps=24),
          lambda told: told["arms"][1].update(settings={"momentum": 0.9})))  # fmt: skip
    result = judge(tmp_path / "a", tmp_path / "b")
    assert "arm sgd_hd: settings differ between tasks" in result.deviations


def change_arm(i: int, **other: Any) -> Change:
    return lambda told: told["arms"][i].update(**other)


def test_what_an_arm_has_otherwise_than_its_baseline_is_named(tmp_path: Path) -> None:
    """Read back from a store; tests/study/test_likeness.py has all kinds of pairs."""
    train(tmp_path, declared(change_arm(1, settings={"batch_size": 32, "momentum": 0.9})))
    named = [text for text in judge(tmp_path).deviations if "settings fit" not in text]
    start = "arm sgd_hd on logreg on digits:"
    assert named == [
        f"{start} batch_size 32, its baseline's 128",
        f"{start} momentum 0.9, its baseline's 0",
    ]


def test_what_differs_is_told_of_the_task_that_it_is_of(tmp_path: Path) -> None:
    """Two results of one label, told apart: each keeps the batch size of its own task."""
    both = change_arm(1, settings={"batch_size": 32})
    train(tmp_path / "a", declared(both))
    other = declared(both, lambda told: told["task"].update(batch_size=64, steps=24))
    train(tmp_path / "b", other)
    assert judge(tmp_path / "a", tmp_path / "b").deviations == tuple(
        f"arm sgd_hd on logreg on digits (batch_size = {n}, steps = {steps}):"
        f" batch_size 32, its baseline's {n}"
        for n, steps in ((128, 12), (64, 24))
    )


def test_a_change_between_two_runs_of_another_result_is_found(tmp_path: Path) -> None:
    """The first result ran its pilot before, and its other seeds after, the second one ran all."""
    train(tmp_path / "first", declared(), range(100, 103))
    train(tmp_path / "second", declared(set_primary(1e-1)))
    train(tmp_path / "first", declared())
    message = "task 'logreg on digits': protocol changed after confirmatory cells had run (primary)"
    for folders in (("first", "second"), ("second", "first")):
        result = judge(*(tmp_path / name for name in folders))
        assert result.label == "exploratory"
        assert message in result.deviations


def test_results_that_declare_alike_may_run_in_turn(tmp_path: Path) -> None:
    for seeds in (range(100, 103), range(5), range(10)):
        train(tmp_path / "a", declared(), seeds)
        train(tmp_path / "b", declared(), seeds)
    assert judge(tmp_path / "a", tmp_path / "b").label == "confirmatory"
