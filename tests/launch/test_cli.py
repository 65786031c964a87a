"""The command line as a person meets it: in a process of its own."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from forked import Process, hdsens
from test_ray import write_toml
from tests_support import change

from hdsens.cli import cli


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help_with_an_example(name):
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert f"Example:\n    hdsens {name} " in result.output or (
        f"Example:\n    hdsens {name}\n" in result.output
    )


def test_from_new_study_to_report(tmp_path):
    script = Path(sys.executable).with_name("hdsens")  # as pip installed it
    made = subprocess.run(
        [script, "new", "mine.toml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (made.returncode, made.stdout) == (0, "wrote mine.toml; now: hdsens run mine.toml\n")
    text = (tmp_path / "mine.toml").read_text()
    (tmp_path / "mine.toml").write_text(
        text.replace("seeds = 10 ", "seeds = 1 ").replace("epochs = 20", "steps = 3")
    )
    plan = hdsens("plan", "mine.toml", cwd=tmp_path).stdout
    assert "cells  112, 3 steps each" in plan
    before = hdsens("status", "mine.toml", cwd=tmp_path)
    assert before.returncode == 1
    assert "missing        112" in before.stdout
    assert not (tmp_path / "results").exists()
    ran = hdsens("run", "mine.toml", "--executor", "inline", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "112 cells: 112 completed, 0 diverged, 0 failed, 0 missing; "
        "16 of the completed ended no better than untrained",
        "report: results/mine/report.html",
        "results/mine",
    ]
    planned = hdsens("plan", "mine.toml", cwd=tmp_path).stdout
    assert "found  112 of them have a result in results/mine\n" in planned
    for path in ("mine.toml", "results/mine"):
        after = hdsens("status", path, cwd=tmp_path)
        assert after.returncode == 0
        assert after.stdout.splitlines()[1:] == [
            "expected       112",
            "completed      112",
            "diverged         0",
            "failed           0",
            "missing          0",
            "no better       16  completed, but no better than untrained",
        ]
    page = hdsens(
        *("report", "results/mine", "--out", "page.html", "--tables", "tables"), cwd=tmp_path
    )
    assert page.stdout == "page.html\n"
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert (tmp_path / "tables" / "mine-regret.csv").read_text().count("\n") == 29
    judged = hdsens("verdict", "results/mine", cwd=tmp_path)
    assert judged.returncode == 0, judged.stderr
    assert judged.stdout.startswith("Verdict (confirmatory)\n")


def test_plan_says_which_arms_only_the_plain_loop_can_train(small, tmp_path):
    small["arms"].append({"name": "w", "optimizer": "Adadelta", "lr": 0.1})
    write_toml(small, tmp_path / "small.toml")
    lines = hdsens("plan", "small.toml", cwd=tmp_path).stdout.splitlines()
    assert any(line.startswith("packs  4 or more, of at most 9 cells") for line in lines)
    assert "plain  w: trained one by one, because Adadelta has no fused form" in lines


def test_plan_builds_an_own_model_and_names_points_for_the_plain_loop(small, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(input_shape, n_classes):\n"
        "    assert n_classes == 3\n"
        "    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, n_classes))\n"
        "def broken():\n"
        "    raise OSError('no weights')\n"
        "import numpy as np\n"
        "from hdsens.tasks import Data\n"
        "def points():\n"
        "    x, y = np.zeros((90, 5), dtype=np.float32), np.arange(90) % 3\n"
        "    return Data(x[:60], y[:60], x[60:], y[60:], n_classes=3)\n"
    )
    small["task"] |= {"model": "mine:net", "data": "mine:points"}
    small["arms"][1]["factors"] = {"maximize": [False, True]}
    small["arms"][1]["lr"] = [0.1, 1.0]
    broken = change(small, ["task", "model"], "mine:broken")
    write_toml(small, tmp_path / "small.toml")
    lines = hdsens("plan", "small.toml", cwd=tmp_path).stdout.splitlines()
    assert "layers Linear cell-aware; BatchNorm1d vmap" in lines
    assert (
        "plain  sgd_hd: 4 of 8 points trained one by one, because maximize = True "
        "has no fused form" in lines
    )
    write_toml(broken, tmp_path / "broken.toml")
    lines = hdsens("plan", "broken.toml", cwd=tmp_path).stdout.splitlines()
    assert "layers none, because the model raises OSError: no weights (mine.py:6)" in lines


def test_diff_says_what_changed_with_its_exit_status(small, tmp_path):
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    for out in ("one", "two"):
        run = ("run", "small.toml", "--executor", "inline", "--path", "plain", "--out", out)
        assert hdsens(*run, cwd=tmp_path).returncode == 0
    same = hdsens("diff", "one", "two", cwd=tmp_path)
    assert (same.returncode, same.stdout) == (
        0,
        "9 points in both: 9 equal, 0 within noise, 0 changed\n7 findings in both: 0 flipped\n",
    )
    part = next((tmp_path / "two" / "parts").glob("cells-*"))
    table = pq.read_table(part)
    at = table.column_names.index("train_loss")
    worse = pc.add(table["train_loss"], 5.0)
    pq.write_table(table.set_column(at, "train_loss", worse), part)
    other = hdsens("diff", "one", "two", cwd=tmp_path)
    assert other.returncode == 1
    assert "changed\n  sgd" in other.stdout


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ({"model": "mine:nothing"},
         "model 'mine:nothing' must return a torch.nn.Module (got 'NoneType')"),
        ({"model": "mine:net", "model_settings": {"width": 5}},
         "model 'mine:net' must train on a minibatch: ValueError: width must be even (mine.py:7); "
         "mend it or its settings"),
        ({"data": "mine:points"},
         "data set 'mine:points' must load: KeyError: 'no such file' (mine.py:13); "
         "mend the factory or its settings"),
    ],
)  # fmt: skip
def test_code_of_ones_own_that_cannot_begin_ends_with_status_2_and_nothing_written(
    small, tmp_path, task, told
):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        return nn.functional.relu(self._halved(super().forward(x.flatten(1))))\n"
        "    def _halved(self, x):\n"
        "        if x.shape[1] % 2:\n"
        "            raise ValueError('width must be even')\n"
        "def net(width):\n"
        "    return Net(64, width)\n"
        "def nothing():\n"
        "    pass\n"
        "def points():\n"
        "    raise KeyError('no such file')\n"
    )
    small["task"] |= task
    write_toml(small, tmp_path / "small.toml")
    ran = hdsens("run", "small.toml", "--executor", "inline", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr == f"hdsens: study 'small': task: {told}\n"
    written = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert written == {"mine.py", "small.toml"}


def test_failed_cells_are_told_with_exit_status_1(small, tmp_path):
    write_toml(change(small, ["task", "model"], "models_for_tests:tires"), tmp_path / "small.toml")
    ran = hdsens("run", "small.toml", "--executor", "inline", cwd=tmp_path, page=True)
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.splitlines()[:2] == [
        "18 cells: 0 completed, 0 diverged, 18 failed, 0 missing",
        "`hdsens status results/small` says why; the same command trains them again",
    ]
    status = hdsens("status", "results/small", cwd=tmp_path)
    assert "failed: 18 x RuntimeError: this model is <b>tired</b> (models_for_tests.py:" in (
        status.stdout
    )
    page = (tmp_path / "results" / "small" / "report.html").read_text()
    assert "is &lt;b&gt;tired&lt;/b&gt;" in page
    assert "<b>tired</b>" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no.toml"], "study file 'no.toml' cannot be read: no such file or directory; "
         "check the path"),
        (["run"], "Missing argument 'STUDY'."),
        (["walk"], "No such command 'walk'."),
        (["run", "small.toml", "--zigzag"], "No such option '--zigzag'."),
        (["run", "small.toml", "--pack-size", "many"],
         "Invalid value for '--pack-size': 'many' is not a valid integer."),
        (["run", "small.toml", "--executor", "dask"], "--executor must be ray or inline "
         "(got 'dask')"),
        (["status", "."], "results '.' must be a folder that `hdsens run` wrote; check the path"),
        (["report", "."], "results '.' must be a folder that `hdsens run` wrote; check the path"),
        (["report", "nowhere"], "results 'nowhere' must be a folder that `hdsens run` wrote; "
         "check the path"),
        (["verdict", "."], "results '.' must be a folder that `hdsens run` wrote; check the path"),
        (["new", "small.toml"], "file 'small.toml' must not exist yet; choose a new name"),
        (["new", "no/such/folder.toml"], "file 'no/such/folder.toml' cannot be written: "
         "No such file or directory; check the path"),
        (["plan", "bad.toml"], "study 'small': arm 'sgd': lr must be >= 0 (got -1.0); "
         "use 0 or a positive number"),
        (["run", "bad.toml"], "study 'small': arm 'sgd': lr must be >= 0 (got -1.0); "
         "use 0 or a positive number"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_status_2(small, tmp_path, arguments, message):
    write_toml(change(small, ["arms", 0, "lr"], [-1.0]), tmp_path / "bad.toml")
    write_toml(small, tmp_path / "small.toml")
    before = sorted(tmp_path.rglob("*"))
    done = hdsens(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"hdsens: {message}\n"
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_list_names_what_a_study_can_name(tmp_path):
    lines = hdsens("list", cwd=tmp_path).stdout.splitlines()
    assert lines[0] == "models: logreg, mlp, cnn, vgg16_bn"
    assert lines[1] == "data: digits, mnist, fashion_mnist, cifar10, cifar10_small, diabetes"
    assert lines[2] == "losses: cross_entropy, mse"
    assert lines[3].startswith("optimizers: SGDHD, AdamHD, ")
    assert "LBFGS" not in lines[3]  # it needs a closure
    assert "Muon" not in lines[3]  # it takes no vectors
    assert "SparseAdam" not in lines[3]  # it takes no dense gradients


def test_importing_is_light():
    code = (
        "import sys, hdsens, hdsens.analysis; from hdsens import Study, read_cells; "
        "print([m for m in ('torch', 'ray', 'optuna', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_what_plans_and_launches_does_not_load_torchs_compiler():
    """It takes seconds. Only a study is worth them: torch loads it for the first optimizer made."""
    code = (
        "import sys, hdsens.launch, hdsens.launch.planning; "
        "print(sorted({'torch', 'torch._dynamo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['torch']\n"


def test_watch_stays_until_every_cell_is_there(small, tmp_path):
    write_toml(small, tmp_path / "small.toml")
    watching = Process("status", "small.toml", "--watch", cwd=tmp_path)
    ran = hdsens("run", "small.toml", "--executor", "inline", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    shown, _ = watching.communicate()
    assert watching.returncode == 0
    assert "completed       18" in shown


def test_diff_of_results_without_a_common_cell_is_refused(small, tmp_path):
    for name, steps in (("a", 2), ("b", 3)):
        small["task"]["steps"] = steps
        write_toml(copy.deepcopy(small), tmp_path / f"{name}.toml")
        hdsens("run", f"{name}.toml", "--out", name, "--executor", "inline", cwd=tmp_path)
    done = hdsens("diff", "a", "b", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "hdsens: results 'a' and 'b' must share cells; compare two runs of one study: same task, "
        "budget, arms and seeds\n"
    )
