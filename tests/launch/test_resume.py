"""A long pack that is killed goes on from its checkpoint, to the same numbers."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forked import Process
from safetensors.numpy import load_file
from test_inline import MEASURED, same_numbers, train
from test_ray import write_toml
from tests_support import change

from hdsens import Study, read_cells, run
from hdsens.launch import Safeguards, work
from hdsens.records import Snapshot
from hdsens.store import Store
from hdsens.store.checkpoints import delete_checkpoints, find_checkpoint, write_checkpoint
from hdsens.store.place import Folder

OFTEN = Safeguards(checkpoint_every_s=0.1)
VERSIONS = {"hdsens": "1", "torch": "2"}


@pytest.fixture
def long(small, tmp_path):
    """A pack of a second or more, whose forward passes are counted."""
    small |= {"seeds": 1, "targets": {}}
    small["arms"][1]["lr"] = [0.0, 0.1]
    small["task"] |= {
        "steps": 250,
        "model": "models_for_tests:counts",
        "model_settings": {"folder": str(tmp_path)},
    }
    return small


def passes(tmp_path):
    count = tmp_path / "count"
    n = len(count.read_bytes()) if count.exists() else 0
    count.unlink(missing_ok=True)
    return n


def checkpoints(out):
    return [p for p in (out / "checkpoints").glob("*") if not p.name.startswith(".")]


def wait_for(condition, process=None):
    """However long it takes; a test that hangs is ended by pytest's own limit."""
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("path", ["plain", "fused"])
def test_a_run_that_is_killed_goes_on_bit_for_bit(long, tmp_path, path):
    write_toml(copy.deepcopy(long), tmp_path / "small.toml")
    plan = ("--executor", "inline", "--path", path, "--pack-size", "100")
    killed = Process(
        "run", "small.toml", *plan, "--out", "cut", "--checkpoint-every", "0.1", cwd=tmp_path
    )
    wait_for(lambda: checkpoints(tmp_path / "cut"), killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not list((tmp_path / "cut" / "parts").glob("cells-*"))
    (checkpoint,) = checkpoints(tmp_path / "cut")
    assert load_file(checkpoint)
    passes(tmp_path)
    train(long, tmp_path / "cut", path=path)
    resumed = passes(tmp_path)
    assert not checkpoints(tmp_path / "cut")
    train(long, tmp_path / "whole", path=path, pack_size=100)
    assert resumed < passes(tmp_path)
    same_numbers(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.ray
def test_a_worker_that_is_killed_is_replaced_and_goes_on_bit_for_bit(long, tmp_path, capsys):
    out = tmp_path / "cut"

    def kill():
        wait_for(lambda: checkpoints(out))
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    plan = {"path": "plain", "pack_size": 100}
    done = run(Study.from_dict(long), out, executor="ray", safeguards=OFTEN, **plan)
    killer.join()
    assert done.status.whole
    assert capsys.readouterr().out == ""  # half a page of Ray's would stand there
    assert not checkpoints(out)
    disturbed = passes(tmp_path)
    train(long, tmp_path / "whole", **plan)
    assert disturbed < 2 * passes(tmp_path)
    same_numbers(out, tmp_path / "whole")


@pytest.mark.ray
def test_a_pack_on_a_worker_that_is_interrupted_goes_on_from_where_it_was(long, tmp_path):
    """By Ctrl-C, which reaches Ray's processes too."""
    long["task"]["steps"] = 2000
    write_toml(copy.deepcopy(long), tmp_path / "small.toml")
    plan = ("--executor", "ray", "--path", "fused", "--pack-size", "100")
    run = Process("run", "small.toml", *plan, "--out", "cut", cwd=tmp_path, own_session=True)
    wait_for(lambda: (tmp_path / "count").exists(), run)
    passes(tmp_path)  # those of the measurement
    wait_for(
        lambda: (tmp_path / "count").exists() and (tmp_path / "count").stat().st_size > 300, run
    )
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate()
    assert run.returncode == 1, err
    assert "Traceback" not in err
    assert checkpoints(tmp_path / "cut")
    made = passes(tmp_path)
    train(long, tmp_path / "cut")
    rest = passes(tmp_path)
    assert not checkpoints(tmp_path / "cut")
    train(long, tmp_path / "whole", path="fused", pack_size=100)
    assert made + rest < 1.2 * passes(tmp_path)
    cut, whole = (
        read_cells(tmp_path / name).drop(columns=[*MEASURED, "pack_size"])  # cells that had ended
        for name in ("cut", "whole")
    )
    pd.testing.assert_frame_equal(cut, whole, check_exact=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 100, None])
def test_a_damaged_checkpoint_is_passed_over_with_a_line(small, tmp_path, caplog, content):
    train(small, tmp_path / "whole", path="plain")
    store = Store(tmp_path / "out")
    ids = [cell.cell_id for cell in Store(tmp_path / "whole").expected()][:9]
    snapshot = Snapshot(3, tuple(ids), {"x": np.zeros((9, 2))}, {})
    store.place.prepare()
    from hdsens.launch.work import VERSIONS

    write_checkpoint(store.place, ids, snapshot, VERSIONS)
    (file,) = checkpoints(tmp_path / "out")
    file.write_bytes(file.read_bytes()[:-5] if content is None else content)
    assert train(small, tmp_path / "out", path="plain").status.whole
    assert f"checkpoint {str(file)!r}"[12:-1] in caplog.text
    assert "its cells start anew" in caplog.text
    assert not checkpoints(tmp_path / "out")
    same_numbers(tmp_path / "out", tmp_path / "whole")


def test_a_checkpoint_serves_any_subset_of_its_cells(tmp_path):
    place = Folder(tmp_path)
    place.prepare()
    small, large = (Snapshot(n, ("a", "b")[:n], {"x": np.ones(n)}, {}) for n in (1, 2))
    write_checkpoint(place, ["a"], small, VERSIONS)
    write_checkpoint(place, ["a", "b"], large, VERSIONS)
    assert find_checkpoint(place, ["a", "b", "c"], VERSIONS).step == 2
    assert find_checkpoint(place, ["b"], VERSIONS).step == 2
    assert find_checkpoint(place, ["c"], VERSIONS) is None
    assert find_checkpoint(place, ["b"], {"hdsens": "1", "torch": "3"}) is None
    delete_checkpoints(place, {"a"})
    assert len(checkpoints(tmp_path)) == 1
    delete_checkpoints(place, {"a", "b"})
    assert not checkpoints(tmp_path)


@pytest.mark.parametrize("every_s", [0.0, 3600.0])
def test_checkpoints_come_as_seldom_as_asked(long, tmp_path, monkeypatch, every_s):
    written = []
    monkeypatch.setattr(work, "write_checkpoint", lambda *given: written.append(given))
    long["task"]["steps"] = 100
    done = train(long, tmp_path / "out", safeguards=Safeguards(checkpoint_every_s=every_s))
    assert done.status.whole
    assert not written


def test_a_checkpoint_that_cannot_be_written_does_no_harm(small, tmp_path, monkeypatch, caplog):
    def full(*given):
        raise OSError("no space left")

    monkeypatch.setattr(work, "write_checkpoint", full)
    every_step = Safeguards(checkpoint_every_s=1e-9)
    assert train(small, tmp_path / "out", safeguards=every_step, path="plain").status.whole
    assert "a checkpoint was not written: OSError: no space left" in caplog.messages


@pytest.mark.parametrize(
    ("safeguards", "message"),
    [
        (Safeguards(max_failures=0), r"--max-failures must be >= 1 \(got 0\)"),
        (Safeguards(checkpoint_every_s=-1.0), r"--checkpoint-every must be seconds >= 0 \(got -1"),
        (Safeguards(checkpoint_every_s=float("nan")), r"--checkpoint-every must .*nan"),
    ],
)
def test_safeguards_that_are_none_write_nothing(small, tmp_path, safeguards, message):
    from hdsens import InputError

    with pytest.raises(InputError, match=f"^{message}"):
        train(change(small, ["seeds"], 1), tmp_path / "out", safeguards=safeguards)
    assert not Path(tmp_path / "out").exists()
