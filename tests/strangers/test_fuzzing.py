"""A few draws of `benchmarks.strangers`: no way of training differs from the oracle in silence."""

from __future__ import annotations

import pytest

from benchmarks.strangers import fuzz


@pytest.mark.filterwarnings("ignore")
def test_random_strangers_give_one_result_or_are_refused_or_said():
    tally = fuzz(range(24))
    assert tally.different == []
    assert tally.kinds["equal"] >= 10
    assert tally.kinds["refused"] <= 0.3 * 24


FOUND: dict[str, int] = {}
