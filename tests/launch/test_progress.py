"""What is shown while a run lasts: cells of earlier runs count as done."""

from __future__ import annotations

from hdsens.launch.progress import CellProgress
from hdsens.store import Status


def test_a_run_that_goes_on_begins_where_the_last_one_ended(capfd):
    found = Status(expected=18, completed=6, diverged=2, failed=1)
    with CellProgress("small", found, to_train=10) as progress:
        progress.show({"completed": 3, "diverged": 1, "failed": 2})
    shown = " ".join(capfd.readouterr().err.split())
    assert "14/18 3 diverged · 2 failed" in shown
