"""Faults of the machine are told as what they are."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from strange import declare

import hdsens.report
from hdsens import run
from hdsens.errors import StoppedError

STUDY = """
name = "u"
seeds = 1
[task]
model = "logreg"
steps = 1
[[arms]]
name = "a"
optimizer = "SGD"
lr = [0.1]
"""


@pytest.mark.ray
def test_a_temporary_folder_that_ray_cannot_use_is_named(tmp_path):
    (tmp_path / "u.toml").write_text(STUDY)
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    program = "from hdsens.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program, "run", "u.toml", "--executor", "ray"], cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("hdsens: Ray must start on this machine: ")
    assert " cannot exceed 107 bytes: " in line
    assert line.endswith(
        "; set TMPDIR or RAY_TMPDIR to a short path that can be written, or --executor inline"
    )


def test_an_error_of_the_machine_outside_the_results_keeps_its_reason(tmp_path, monkeypatch):
    def render(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/fonts/cache")

    monkeypatch.setattr(hdsens.report, "render", render)
    with pytest.raises(StoppedError) as caught:
        run(declare(), tmp_path / "out", executor="inline", path="plain")
    assert str(caught.value).startswith(
        "the run met PermissionError: [Errno 13] Permission denied: '/fonts/cache' (test_machines"
    )
    assert "cannot be written" not in str(caught.value)
