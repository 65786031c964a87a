"""The short version of `python -m benchmarks.faults`: drivers are killed, nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SHORT = ["--kills", "3", "--seeds", "4", "--steps", "500", "--moments", "0", "--fed", "30"]
OFTEN = ["--checkpoint-every", "0.05"]  # a pack takes a second


@pytest.mark.ray
@pytest.mark.timeout(1800)  # against hanging alone: a busy machine takes minutes
def test_a_study_that_is_killed_again_and_again_ends_as_an_undisturbed_one():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", *SHORT, *OFTEN], cwd=Path(__file__).parents[2],
        text=True, capture_output=True, timeout=1700, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cells lost 0, doubled 0, other things wrong 0" in done.stdout
    assert "faults injected 0" not in done.stdout
    assert "to go on from: 0" not in done.stdout
