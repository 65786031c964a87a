"""A study's metric: what its verdict, page and comparison judge, and what it changes."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional

from hdsens import Study, read_cells, run
from hdsens.cli import cli
from hdsens.report.evidence.gather import gather
from hdsens.store import Store, read_results
from hdsens.training.environment import training_environment
from hdsens.training.examples import load_examples
from hdsens.training.job import Job


def declare(metric):
    return Study.from_dict({
        "name": "judged", "seeds": 2, "metric": metric,
        "protocol": {"pilot_seeds": [7], "primary": {"hd": {"hypergrad_lr": 1e-3}}},
        "task": {"model": "logreg", "data": "digits", "steps": 20, "validation": 100},
        "arms": [{"name": "sgd", "optimizer": "SGD", "lr": [0.0, 0.1, 1.0]},
                 {"name": "hd", "optimizer": "SGDHD", "baseline": "sgd", "lr": [0.0, 0.1, 1.0],
                  "hypergrad_lr": 1e-3}],
    })  # fmt: skip


def told(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert done.exit_code in (0, 1), done.output
    return done.output


def test_the_metric_is_judged_and_a_change_of_it_afterwards_is_told(tmp_path):
    out = tmp_path / "judged"
    first = run(declare("valid_loss"), out=out, executor="inline")
    cells = read_cells(out)
    assert gather(read_results(out)).metric == "valid_loss"
    assert "metric changed" not in told("verdict", out)
    by_valid = told("verdict", out)

    # the untrained validation loss is that of the fresh model, without an update
    with training_environment(torch.float32, 1):
        job = Job(
            declare("valid_loss"),
            load_examples(declare("valid_loss").task, torch.device("cpu")),
            torch.device("cpu"),
        )
        valid = job.examples.valid
        wanted = functional.cross_entropy(job.fresh_model(1)(valid.inputs), valid.targets).item()
    own = cells.loc[cells["seed"] == 1, "initial_valid_loss"]
    assert own.to_list() == pytest.approx([wanted] * len(own), rel=1e-5)

    # the same cells, judged by another loss: nothing trains, and the verdict says what was done
    again = run(declare("train_loss"), out=out, executor="inline")
    assert first.status.completed == again.status.completed == len(cells)
    assert "metric changed after confirmatory cells had run (valid_loss → train_loss)" in told(
        "verdict", out
    )
    assert told("verdict", out).splitlines()[2:8] != by_valid.splitlines()[2:8]


def test_records_of_the_default_can_be_read_by_earlier_versions(tmp_path):
    for metric, keys in (("train_loss", set()), ("valid_loss", {"metric"})):
        out = tmp_path / metric
        store = Store(out)
        run(declare(metric).model_copy(update={"seeds": (0,)}), out=out, executor="inline")
        (record,) = store.runs()
        assert (
            set(json.loads(json.dumps(record))["declared"]) - {"protocol", "seeds", "arms"} == keys
        )
