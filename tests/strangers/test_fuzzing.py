"""A few draws of `benchmarks.strangers`: no way of training differs from the oracle in silence."""

from __future__ import annotations

import pytest

from benchmarks.strangers import fuzz
from benchmarks.strangers_faults import FAULTS, find

N = 24
FOUND = {
    "a pack's loss is a mean over its cells": 9,
    "what a model keeps besides tensors is not put back": 3,
    "an optimizer's eval() and train() are not called": 12,
    "complex numbers are cast to real ones": 0,
    "an optimizer's state is not loaded": 9,
    "buffers are not in a checkpoint": 0,
    "each epoch has the order of the first": 2,
    "parameters that nothing trains are let through": 18,
    "data that are not finite are let through": 7,
}
"""The first draw that shows each; `--faults` looks for all of them from the first draw on."""


@pytest.mark.filterwarnings("ignore")
def test_random_strangers_give_one_result_or_are_refused_or_said():
    tally = fuzz(range(N))
    assert tally.different == []
    assert tally.kinds["equal"] >= 10
    assert tally.kinds["refused"] <= 0.3 * N


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FOUND)
def test_a_fault_in_the_toolkit_is_found_by_its_draw(name):
    assert name in FAULTS
    assert find(name, [FOUND[name]]).startswith(f"draw {FOUND[name]}: ")
