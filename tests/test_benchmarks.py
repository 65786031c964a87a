"""Benchmarks run by hand; what they import must not have gone meanwhile."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import benchmarks
from benchmarks.breaks import ROOMS, ROOT, Break, read_breaks


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
)
def test_a_benchmark_can_be_imported(name):
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("one", read_breaks(), ids=lambda one: one.what)
def test_a_break_can_still_be_made(one: Break):
    """Its text stands once in its file; where that was reworked, the list goes along."""
    assert not one.is_stale(ROOT)
    assert (ROOT / "tests" / one.by).is_file()
    assert one.text != one.to


def test_breaks_are_spread_over_all_rooms():
    breaks = read_breaks()
    assert len(breaks) == len({one.what for one in breaks}) > 60
    assert {one.room for one in breaks} == set(ROOMS)
