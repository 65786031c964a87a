"""The fault campaign in short; `python -m benchmarks.faults` is the long one."""

from __future__ import annotations

import pytest

from benchmarks import faults


@pytest.mark.ray
def test_a_study_under_a_few_kills_ends_with_every_cell_once(tmp_path, capsys):
    well = faults.campaign(tmp_path, seeds=6, steps=600, wanted=3, moments=0, seed=3, path="plain")
    said = capsys.readouterr().out
    assert well, said
    assert "cells lost 0, doubled 0, other things wrong 0" in said
