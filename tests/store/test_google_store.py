"""The store over Google's storage protocol, to an emulator in a process of its own."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pandas as pd
import pytest
from click.testing import CliRunner
from store_cases import N_TRAIN, assert_grows_as_here, cells_of, pack, record

from hdsens import InputError, Study, read_cells, read_traces, run
from hdsens.cli import cli
from hdsens.store import Store, compact, place

pytest.importorskip(
    "gcp_storage_emulator", reason="gs:// is tested with gcp-storage-emulator (group s3)"
)
NUMBER = itertools.count()
# One thread a connection: Google's client keeps a download open while it asks for something else.
SERVER = """
from functools import partial
from http.server import ThreadingHTTPServer
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

storage = Storage(use_memory_fs=True)
create_bucket("bucket", storage)
server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RequestHandler, storage))
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def port():
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield int(process.stdout.readline())
        process.kill()


@pytest.fixture
def uri(port):
    folder = f"gs://anonymous@bucket/results/{next(NUMBER)}"
    return f"{folder}?scheme=http&endpoint_override=127.0.0.1:{port}"


def invoke(*arguments):
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
    return done


def test_a_study_runs_grows_and_is_read_in_googles_store(uri, small, tmp_path):
    done = run(Study.from_dict(small), uri, executor="inline")
    assert done.status.whole
    assert_grows_as_here(uri, small, tmp_path / "here")
    status = invoke("status", uri, "--check")
    assert (status.return_value, "damaged" in status.output) == (0, False)
    assert "completed       20" in status.output
    assert invoke("report", uri).output == f"{uri.partition('?')[0]}/report.html\n"
    assert Store(uri).place.read("report.html").lstrip().startswith(b"<!doctype html>")


def test_parts_are_merged_and_set_aside_in_googles_store(uri, small, monkeypatch):
    monkeypatch.setattr(compact, "MAX_CELLS", 7)
    study, cells, store = Study.from_dict(small), cells_of(small), Store(uri)
    assert not store.exists()
    store.begin(study, N_TRAIN)
    for cell in cells[:12]:
        store.append(study, pack(record(cell, loss=float(cells.index(cell)))))
    before = read_cells(uri), read_traces(uri)
    done = store.compact()
    assert (done.before, done.after) == (24, 4)
    for one, other in zip(before, (read_cells(uri), read_traces(uri)), strict=True):
        pd.testing.assert_frame_equal(one, other)
    part = next(name for name in store.place.entries("parts") if name.startswith("traces-"))
    store.place.write(f"parts/{part}", store.place.read(f"parts/{part}")[:-5])
    done = CliRunner().invoke(cli, ["status", "--check", uri], standalone_mode=False)
    assert done.return_value == 1
    assert f"parts/{part}' must be readable Parquet" in done.output
    (damage,) = store.damage()
    store.set_aside(damage)
    assert not store.damage()
    assert f"{part}.damaged" in store.place.entries("parts")


@pytest.mark.timeout(60)
def test_a_server_that_does_not_answer_is_told_before_long(monkeypatch):
    monkeypatch.setattr(place, "GS_PATIENCE_S", 1)
    with pytest.raises(InputError, match=r"^results 'gs://.*' cannot be reached: .*; check the ad"):
        read_cells("gs://anonymous@bucket/x?endpoint_override=127.0.0.1:1&scheme=http")


@pytest.mark.parametrize("who", ["me", "me:secret", "anonymous:secret"])
def test_nobody_is_named_in_an_address_but_nobody(who):
    with pytest.raises(InputError, match=r"^results must not hold credentials; put them into"):
        read_cells(f"gs://{who}@bucket/x")
