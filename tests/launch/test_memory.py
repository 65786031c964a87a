"""Ray's memory monitor kills workers: a death like another, and told as what it is."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from test_faults import start
from test_ray import write_toml

from hdsens import read_cells
from hdsens.store import Store
from hdsens.store.plan import read_plan

GIB = 2**30


def threshold():
    """The share of memory at which Ray kills: 4 GiB more than is in use now."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    known = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    total, available = known["MemTotal"], known["MemAvailable"]
    return (total - available + 4 * GIB) / total, available


@pytest.mark.ray
def test_a_cell_that_takes_all_memory_fails_alone_and_says_so(small, tmp_path):
    share, available = threshold()
    limit = Path("/sys/fs/cgroup/memory.max")
    if available < 10 * GIB or (limit.exists() and limit.read_text().strip() != "max"):
        pytest.skip("needs 10 GiB of free memory that no control group limits")
    arm = {"name": "a", "optimizer": "models_for_tests:GrowsAtLrOne", "lr": [0.1, 1.0]}
    small |= {"arms": [arm], "seeds": 1, "targets": {}}
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    run = start(tmp_path, "--max-failures", "1", RAY_memory_usage_threshold=str(share))
    out, err = run.communicate()
    assert run.returncode == 1, err
    assert "Traceback" not in err
    assert out.splitlines()[0] == "2 cells: 1 completed, 0 diverged, 1 failed, 0 missing", err
    cells = read_cells(tmp_path / "out")
    outcomes = sorted(zip(cells["lr"], cells["outcome"], strict=True))
    assert outcomes == [(0.1, "completed"), (1.0, "failed")]
    assert set(cells["error"].dropna()) == {
        "its worker process was killed 1 times on this cell alone because its node ran out of "
        "memory: give it more memory, or let fewer packs train at a time with --cpus-per-pack"
    }
    halves = [ids for ids, _ in read_plan(Store(tmp_path / "out").place)]
    assert sorted(i for (i,) in halves) == sorted(cells["cell_id"])


def test_a_kill_for_memory_is_known_by_itself_or_by_what_it_caused():
    import ray

    from hdsens.launch.ray.memory_kills import is_memory_kill

    killed = ray.exceptions.OutOfMemoryError("the node ran low on memory")
    caused = RuntimeError("unexpected exception")
    caused.__cause__ = killed
    assert is_memory_kill(killed)
    assert is_memory_kill(caused)
    assert not is_memory_kill(RuntimeError("of something else"))
