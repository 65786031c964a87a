"""Where the toolkit reads folders and prints, whatever lies there and whoever listens."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace

import click
import pytest
from strange import declare

from hdsens import InputError, run
from hdsens.cli import _print_anything
from hdsens.report import write_tables
from hdsens.report.export import _Names
from hdsens.store import read_results
from hdsens.tasks import import_object

HDSENS = [sys.executable, "-c", "from hdsens.cli import main; main()"]


def hdsens(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-P", "-c", "from hdsens.cli import main; main()", *arguments],
        cwd=cwd, env=os.environ | environment, capture_output=True, check=False, timeout=500,
    )  # fmt: skip


def test_help_is_printed_in_an_encoding_of_one_byte(tmp_path):
    told = hdsens("run", "--help", cwd=tmp_path, PYTHONIOENCODING="latin-1")
    assert (told.returncode, told.stderr) == (0, b"")
    assert b"s3://?" in told.stdout


def test_an_error_is_one_line_in_an_encoding_of_one_byte(tmp_path):
    told = hdsens("verdict", "β", cwd=tmp_path, PYTHONIOENCODING="latin-1")
    assert told.returncode == 2
    assert told.stderr.count(b"\n") == 1
    assert b"results '?' must " in told.stderr


def test_what_no_encoding_holds_is_replaced_on_both_outputs(monkeypatch):
    for encoding in ("latin-1", "utf-8"):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        _print_anything()
        click.echo("a\udcffb")
        click.echo("≥\udcff", err=True)
        for stream in streams:
            stream.flush()
        assert streams[0].buffer.getvalue() == b"a?b\n"
        assert streams[1].buffer.getvalue().endswith(b"?\n")


MINE = """
name = "mine"
seeds = 1
[task]
model = "own:model"
data = "digits"
steps = 2
[[arms]]
name = "a"
optimizer = "SGD"
lr = [0, 0.1]
"""
OWN = """
from torch import nn

def model(n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
"""


@pytest.mark.ray
def test_files_called_like_modules_of_others_take_nobodys_place_here_and_in_workers(tmp_path):
    for name in ("secrets", "click", "numpy", "sched", "bisect"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong file')")
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "mine.toml").write_text(MINE)
    ran = hdsens("run", "mine.toml", "--executor", "ray", "--path", "plain", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    assert "2 completed" in ran.stdout.decode()


def test_a_file_that_an_installed_module_hides_is_named(tmp_path, monkeypatch):
    (tmp_path / "click.py").write_text("def model(): ...")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        import_object("click:model", "model")
    told = "model 'click:model' must name something that module 'click' has (got 'model'); "
    assert str(caught.value).startswith(told)
    assert str(caught.value).endswith("rename click.py here, which that module hides")


def test_files_of_two_results_never_take_each_others_names(tmp_path):
    study = declare().model_copy(update={"name": "s t"})
    run(study, tmp_path / "one", executor="inline", path="plain")
    one = read_results(tmp_path / "one")
    read = [one, replace(one, study=study.model_copy(update={"name": "S_t"}))]
    paths = write_tables(read, tmp_path / "all")
    names = {path.name.casefold() for path in paths}
    assert len(names) == len(paths) == 2 * len([p for p in paths if p.name.startswith("s_t-")])
    assert all(path.is_file() for path in paths)


def test_a_name_that_is_taken_gets_the_first_free_number():
    names = _Names()
    told = [names.free(text) for text in ("a", "A", "a-2", "a/b", "a b", "a", "b")]
    assert told == ["a", "A-2", "a-2-2", "a_b", "a_b-2", "a-3", "b"]
