"""Benchmarks run by hand; what they import must not have gone meanwhile."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

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


LEAVES_A_DRIVER = """
import sys
from pathlib import Path
from benchmarks.faults import Run

driver = Run(Path.cwd(), Path("out"), ["-c", "import time; print(); time.sleep(600)"])
print(driver._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_driver_ends_with_the_campaign_that_started_it():
    """Also where the campaign is killed, as by a test that ran out of time."""
    campaign = subprocess.Popen(
        [sys.executable, "-c", LEAVES_A_DRIVER], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    driver = Path("/proc", campaign.stdout.readline().strip())
    assert driver.exists()
    campaign.kill()
    campaign.communicate()
    while driver.exists():
        time.sleep(0.05)
