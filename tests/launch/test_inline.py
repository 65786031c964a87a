from __future__ import annotations

import os
import re

import pandas as pd
import pytest
from tests_support import change

from hdsens import InputError, Study, read_cells, read_traces, run
from hdsens.launch import Resources
from hdsens.store import plan
from hdsens.training import pack

MEASURED = ["wall_s", "finished_at"]


def train(data, out, **options):
    return run(Study.from_dict(data), out, executor="inline", **options)


def same_numbers(one, other):
    pd.testing.assert_frame_equal(
        read_cells(one).drop(columns=MEASURED), read_cells(other).drop(columns=MEASURED),
        check_exact=True,
    )  # fmt: skip
    pd.testing.assert_frame_equal(read_traces(one), read_traces(other), check_exact=True)


@pytest.mark.page
def test_a_run_holds_every_cell_and_writes_its_page(small, tmp_path):
    done = train(small, tmp_path / "out")
    assert done.status.whole
    assert (done.status.expected, done.status.completed) == (18, 18)
    cells = read_cells(tmp_path / "out")
    assert len(cells) == 18
    page = done.report.read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!doctype html>")
    assert "sgd_hd" in page


def test_a_second_run_trains_nothing(small, tmp_path):
    train(small, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "parts").iterdir()}
    before[tmp_path / "report.html"] = (tmp_path / "report.html").stat().st_mtime_ns
    done = train(small, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(before) == 1 + len(list((tmp_path / "parts").iterdir()))
    assert done.status.whole
    assert len(list((tmp_path / "runs").iterdir())) == 1  # nothing ran, nothing to tell


def test_the_plan_is_read_as_often_for_one_missing_cell_as_for_all(small, tmp_path, monkeypatch):
    train(small, tmp_path, pack_size=1)
    read, reads = plan.read_plan_file, []
    monkeypatch.setattr(plan, "read_plan_file", lambda *given: reads.append(given) or read(*given))
    parts = sorted((tmp_path / "parts").glob("cells-*"))
    assert len(parts) == 18
    counts = []
    for lost in (parts[:1], parts):
        for part in lost:
            part.unlink()
        reads.clear()
        assert train(small, tmp_path).status.whole
        counts.append(len(reads))
    assert 0 < counts[0] == counts[1]


def test_a_page_that_is_older_than_the_results_is_written_again(small, tmp_path):
    train(small, tmp_path)
    report = tmp_path / "report.html"
    os.utime(report, (0, 0))
    train(small, tmp_path)
    assert report.stat().st_mtime > 0
    report.unlink()
    assert train(small, tmp_path).report.exists()


def test_the_page_is_written_anew_though_the_clock_was_set_back(small, tmp_path):
    """By its time the page is newer than what this run trains, or only declares."""
    train(small, tmp_path)
    report = tmp_path / "report.html"
    for more in ({"seeds": 3}, {"name": "renamed"}):
        os.utime(report, (2**33, 2**33))
        page = report.read_text(encoding="utf-8")
        small |= more
        train(small, tmp_path)
        assert report.read_text(encoding="utf-8") != page


def test_a_new_level_trains_just_its_cells_and_leaves_the_rest(small, tmp_path):
    train(small, tmp_path)
    before = read_cells(tmp_path).set_index("cell_id")["finished_at"]
    small["arms"][0]["lr"].append(0.5)
    train(small, tmp_path)
    after = read_cells(tmp_path).set_index("cell_id")["finished_at"]
    assert len(after) == 20
    assert after[before.index].equals(before)
    new = read_cells(tmp_path).query("cell_id not in @before.index")
    assert set(new["lr"]) == {0.5}
    assert set(new["arm"]) == {"sgd"}


def test_another_budget_is_another_study_and_the_old_one_comes_back(small, tmp_path):
    train(small, tmp_path)
    shorter = change(small, ["task", "steps"], 6)
    assert train(shorter, tmp_path).status.other == 18
    assert set(read_cells(tmp_path)["steps"]) == {6}
    assert train(small, tmp_path).status.other == 18
    assert set(read_cells(tmp_path)["steps"]) == {12}
    assert len(list((tmp_path / "runs").iterdir())) == 3  # also one that only changed the study


def test_results_do_not_depend_on_packs(small, tmp_path):
    train(small, tmp_path / "one", pack_size=1, path="plain")
    train(small, tmp_path / "many", pack_size=100, path="plain")
    one, many = (read_cells(tmp_path / name) for name in ("one", "many"))
    assert set(one["pack_size"]) == {1}
    assert set(many["pack_size"]) == {9}
    pd.testing.assert_frame_equal(
        one.drop(columns=[*MEASURED, "pack_size"]), many.drop(columns=[*MEASURED, "pack_size"])
    )


def test_a_plan_stands_and_an_option_that_it_overrules_is_noted(small, tmp_path):
    broken = change(small, ["task", "model"], "models_for_tests:tires")
    broken["task"]["model_settings"] = {"marker": str(tmp_path / "marker")}
    (tmp_path / "marker").touch()
    assert train(broken, tmp_path / "out", path="plain", pack_size=9).status.failed == 18
    (tmp_path / "marker").unlink()
    again = train(broken, tmp_path / "out", path="fused", pack_size=4)
    assert again.notes[-1] == (
        "18 cells train as planned at an earlier run (plain, packs of at most 9): --path and "
        "--pack-size arrange only what no plan holds; a new --out plans anew"
    )
    assert set(read_cells(tmp_path / "out")["pack_size"]) == {9}
    small["arms"][0]["lr"].append(0.5)
    same = train(small, tmp_path / "whole", path="plain", pack_size=4)
    more = change(small, ["arms", 0, "lr"], [0.0, 0.1, 1.0, 0.5, 0.6])
    assert train(more, tmp_path / "whole", path="plain", pack_size=4).notes == same.notes == ()


@pytest.mark.page
def test_a_model_that_raises_fails_its_cells_and_a_mended_one_trains_them(small, tmp_path):
    broken = change(small, ["task", "model"], "models_for_tests:tires")
    done = train(broken, tmp_path)
    assert (done.status.failed, done.status.whole) == (18, False)
    (error,) = set(read_cells(tmp_path)["error"])
    assert re.fullmatch(
        r"RuntimeError: this model is <b>tired</b> \(models_for_tests.py:\d+\)", error
    )
    assert "&lt;b&gt;tired" in done.report.read_text(encoding="utf-8")


def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(small, tmp_path, monkeypatch):
    def interrupted(job, cell, snapshot, start_plain=pack.start_plain, started=[]):  # noqa: B006 # counts
        started.append(cell)
        if len(started) > 2:
            raise KeyboardInterrupt
        return start_plain(job, cell, snapshot)

    with monkeypatch.context() as patch:
        patch.setattr(pack, "start_plain", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(small, tmp_path / "cut", path="plain")
    assert len(read_cells(tmp_path / "cut")) == 2
    assert train(small, tmp_path / "cut").status.whole
    train(small, tmp_path / "whole", path="plain")
    cut, whole = (read_cells(tmp_path / n).drop(columns=[*MEASURED, "pack_size"])
                  for n in ("cut", "whole"))  # fmt: skip
    pd.testing.assert_frame_equal(cut, whole, check_exact=True)


def test_provenance_says_what_ran(small, tmp_path):
    from hdsens.store import read_results

    train(small, tmp_path)
    (ran,) = read_results(tmp_path).runs
    assert ran["executor"] == "inline"
    assert ran["torch_version"].startswith("2.")
    assert ran["n_cpus"] >= 1
    assert ran["declared"]["seeds"] == [0, 1]
    assert ran["declared"]["protocol"] is None
    assert ran["declared"]["arms"]["sgd_hd"]["baseline"] == "sgd"
    assert {"run_id", "started_at", "git", "python", "platform", "cpu", "device"} <= set(ran)


def test_files_of_others_in_a_new_results_folder_are_left_alone(small, tmp_path):
    others = [tmp_path / n for n in ("parts/sales.parquet", "plan/b.parquet")]
    for file in others:
        file.parent.mkdir()
        file.write_bytes(b"not of hdsens")
    train(small, tmp_path)
    assert [file.exists() for file in others] == [True, True]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["task", "model"], "resnet",
         "study 'small': task: model 'resnet' must be one of logreg, mlp, cnn, vgg16_bn"),
        (["task", "data"], "mnits",
         "study 'small': task: data set 'mnits' must be one of digits, .*did you mean 'mnist'"),
        (["task", "model"], "vgg16_bn",
         r"study 'small': task: model 'vgg16_bn' must have inputs of shape \(3, 32, 32\)"),
        (["task", "model_settings"], {"widht": 3}, "study 'small': task: model 'logreg': setting"),
        (["task", "validation"], 5000, "study 'small': task: validation must be a share"),
        (["task", "model"], "no_such_module:f",
         "study 'small': task: model 'no_such_module:f' must"),
        (["arms", 0, "optimizer"], "SDG",
         "study 'small': arm 'sgd': optimizer must be a class of hdsens.optim or .*'SDG'"),
        (["arms", 0, "optimizer"], "sgd-hd", "study 'small': .*; did you mean 'SGDHD'"),
        (["arms", 0, "optimizer"], "LBFGS",
         "study 'small': arm 'sgd': optimizer must do its step without a closure .*'LBFGS'"),
        (["arms", 0, "settings"], {"momentum": -1.0},
         "study 'small': arm 'sgd': optimizer SGD refuses its arguments: ValueError: Invalid "
         "momentum value"),
        (["arms", 0, "settings"], {"momentun": 0.5},
         "study 'small': arm 'sgd': optimizer SGD refuses its arguments: .*'momentun'"),
        (["arms", 0, "optimizer"], "Muon",
         "study 'small': arm 'sgd': optimizer Muon refuses its arguments: ValueError: "
         "Muon only supports 2D"),
        (["arms", 0, "optimizer"], "Rprop",
         "study 'small': arm 'sgd': optimizer Rprop must take weight_decay"),
    ],
)  # fmt: skip
def test_bad_input_writes_nothing(small, tmp_path, path, value, message):
    with pytest.raises(InputError, match=f"^{message}"):
        train(change(small, path, value), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "dask"}, "--executor must be ray or inline"),
        ({"executor": "inline", "address": "auto"}, "--address must go with --executor ray"),
        ({"executor": "inline", "pack_size": 0}, "--pack-size must be >= 1"),
        ({"executor": "inline", "resources": Resources(cpus_per_pack=0)}, "--cpus-per-pack must"),
        ({"executor": "inline", "resources": Resources(gpus_per_pack=-1)}, "--gpus-per-pack must"),
        (
            {"executor": "inline", "resources": Resources(device="tpu")},
            "--device must be auto",
        ),
        ({"executor": "inline", "resources": Resources(device="cuda:99")}, "--device must be pres"),
    ],
)
def test_bad_options_write_nothing(small, tmp_path, options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        run(Study.from_dict(small), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_results_folder_that_cannot_be_made_is_an_input_error(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"results '.*file.out' cannot be written: .*; choose"):
        train(small, tmp_path / "file" / "out")


def test_a_data_factory_that_changed_between_two_runs_is_called_again(small, tmp_path, monkeypatch):
    """As in a notebook: the process, and what it keeps, stays."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "data_of_a_notebook.py").write_text(
        "import numpy as np\n"
        "from hdsens.tasks import Data\n"
        "scale = 1.0\n"
        "def blobs():\n"
        "    inputs = scale * np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)\n"
        "    targets = np.arange(40) % 2\n"
        "    return Data(inputs, targets, inputs[:4], targets[:4], 2)\n"
    )
    small = change(small, ["task", "data"], "data_of_a_notebook:blobs")
    train(small, tmp_path / "before")
    import data_of_a_notebook

    monkeypatch.setattr(data_of_a_notebook, "scale", 9.0)
    train(small, tmp_path / "after")
    before, after = (read_cells(tmp_path / name)["initial_loss"] for name in ("before", "after"))
    assert before.notna().all()
    assert (before != after).all()
