"""A cluster of two real nodes, one of which goes while packs train there."""

from __future__ import annotations

import copy
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from forked import environment
from test_faults import cells_parts, children, start
from test_inline import train
from test_ray import write_toml
from test_resume import wait_for

from hdsens import read_cells, read_traces
from hdsens.store import Store

START = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]


@pytest.fixture
def join(tmp_path):
    """Starts nodes, each by a `ray start` of its own, which share a token."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    nodes = []

    def begin(*arguments):
        node = subprocess.Popen(
            [*START, "--disable-usage-stats", *arguments], text=True,
            env=environment(RAY_AUTH_TOKEN_PATH=str(token), RAY_AUTH_MODE="token"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        nodes.append(node)
        for line in node.stdout:
            if "Ray runtime started" in line:
                break
        return node

    yield begin
    for node in nodes:
        node.terminate()
    for node in nodes:
        node.communicate()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def raylet(node):
    (pid,) = [p for p, command in children(node.pid) if Path(command).name == "raylet"]
    return pid


def trains(node):
    return any("Trainable.train" in command for _, command in children(raylet(node)))


@pytest.mark.ray
def test_a_node_that_goes_loses_no_cell_and_doubles_none(small, tmp_path, join):
    """Of a running cluster that wants a token, which must not be in the results."""
    port = free_port()
    join("--head", f"--port={port}", "--include-dashboard=false")
    other = join(f"--address=127.0.0.1:{port}")
    small["seeds"] = 3
    small["task"]["model"] = "models_for_tests:waits"
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    run = start(
        tmp_path, "--address", f"127.0.0.1:{port}", RAY_AUTH_TOKEN_PATH=str(tmp_path / "token")
    )
    wait_for(lambda: len(cells_parts(tmp_path)) > 1 and trains(other), run)
    os.kill(raylet(other), signal.SIGKILL)
    begun = len(cells_parts(tmp_path))
    _, err = run.communicate()
    assert run.returncode == 0, err
    assert "Traceback" not in err
    assert begun < len(cells_parts(tmp_path))
    assert not Store(tmp_path / "out").damage()
    # A worker may outlive its node for a moment, and write cells beside its pack's second trial.
    rows = pd.concat(map(pd.read_parquet, cells_parts(tmp_path)))
    assert len(rows) <= 27 + 3
    values = rows[["cell_id", "outcome", "train_loss", "valid_loss", "lr_final"]]
    assert len(values.drop_duplicates()) == rows["cell_id"].nunique() == 27
    token = (tmp_path / "token").read_bytes()
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(token in path.read_bytes() for path in written)
    small["task"]["model"] = "logreg"
    train(small, tmp_path / "alone", pack_size=3, path="plain")
    cells, alone = read_cells(tmp_path / "out"), read_cells(tmp_path / "alone")
    assert len(cells) == cells["cell_id"].nunique() == 27
    for name in ("train_loss", "valid_loss", "lr_final"):
        assert cells[name].equals(alone[name])
    traces = read_traces(tmp_path / "out")
    assert len(traces) == len(read_traces(tmp_path / "alone"))
    assert not traces.duplicated(["cell_id", "step"]).any()
