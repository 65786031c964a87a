"""Everything that a store does, over the S3 protocol to a real server on this machine."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
import urllib.request

import pandas as pd
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer
from store_cases import N_TRAIN, assert_grows_as_here, cells_of, pack, record

from hdsens import InputError, Study, read_cells, read_traces, run
from hdsens.cli import cli
from hdsens.launch import driver
from hdsens.records import failure
from hdsens.store import Store, compact, read_results
from hdsens.study.packs import pack_cells

NUMBER = itertools.count()


@pytest.fixture(scope="module")
def server():
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
    yield address
    running.stop()


@pytest.fixture
def uri(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return f"s3://bucket/results/{next(NUMBER)}"


def invoke(*arguments):
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
    return done


def test_a_study_runs_grows_and_is_read_in_an_object_store(uri, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(Study.from_dict(small), uri, executor="inline")
    assert (done.folder, done.report) == (uri, f"{uri}/report.html")
    assert done.status.whole
    page = Store(uri).place.read("report.html").decode()
    assert page.lstrip().startswith("<!doctype html>")
    assert_grows_as_here(uri, small, tmp_path / "here")
    assert len(read_results(uri).runs) == 2
    status = invoke("status", uri, "--check")
    assert status.return_value == 0
    assert status.output.startswith(f"results  {uri}\nexpected        20\ncompleted       20\n")
    assert invoke("verdict", uri).output.startswith("Verdict")
    assert invoke("report", uri).output == f"{uri}/report.html\n"
    assert invoke("report", uri, "--out", "page.html").output == "page.html\n"
    assert invoke("diff", uri, "here").return_value == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "page.html"]


def test_parts_are_merged_set_aside_and_planned_in_an_object_store(uri, small, monkeypatch):
    monkeypatch.setattr(compact, "MAX_CELLS", 7)
    study, cells, store = Study.from_dict(small), cells_of(small), Store(uri)
    assert not store.exists()
    assert store.outcomes() == {}
    store.begin(study, N_TRAIN)
    planned = store.plan(cells, pack_cells(cells, study, 4))
    assert store.plan(cells, pack_cells(cells, study, 9)) == planned
    for cell in cells[:12]:
        store.append(study, pack(record(cell, loss=float(cells.index(cell)))))
    store.append(study, pack(failure(cells[12], "broken")))
    before = read_cells(uri), read_traces(uri)
    done = store.compact()
    assert (done.before, done.after) == (25, 5)
    for one, other in zip(before, (read_cells(uri), read_traces(uri)), strict=True):
        pd.testing.assert_frame_equal(one, other)
    part = next(name for name in store.place.entries("parts") if name.startswith("traces-"))
    store.place.write(f"parts/{part}", store.place.read(f"parts/{part}")[:-5])
    with pytest.raises(InputError, match=f"^file '{uri}/parts/{part}' must be readable Parquet"):
        read_results(uri)
    (damage,) = store.damage()
    store.set_aside(damage)
    assert not store.damage()
    assert store.status(cells).completed == 12 - len(damage.cells) > 0
    assert f"{part}.damaged" in store.place.entries("parts")


def test_a_run_compacts_and_uses_an_endpoint_that_the_uri_names(uri, server, small, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr(driver, "COMPACT_ABOVE", 3)
    named = f"{uri}?endpoint_override={server.removeprefix('http://')}&scheme=http"
    done = run(Study.from_dict(small), named, executor="inline", pack_size=9)
    assert done.status.whole
    assert Store(named).part_count() == 2
    assert done.report == f"{uri}/report.html"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("s3://", "results must name a bucket and a folder in it (got 's3://'); e.g. s3://bu"),
        ("s3:///x", "results must name a bucket and a folder in it (got 's3:///x'); e.g. s3://"),
        (
            "gs://anonymous@/x",
            "results must name a bucket and a folder in it (got 'gs://anonymous@",
        ),
        ("s3://bucket/../x", "results must name a bucket and a folder in it (got 's3://bucket/.."),
        ("s3://bucket/a\0b", "results must name a bucket and a folder in it (got 's3://bucket/a"),
        ("ftp://bucket/x", "results must begin with s3:// or gs://, or be a path (got 'ftp://b"),
        ("file:///etc", "results must begin with s3:// or gs://, or be a path (got 'file:///etc'"),
        ("s3://[x/y", "results must be a path or a URI (got 's3://[x/y')"),
        ("s3://me:secret@bucket/x", "results must not hold credentials; put them into the env"),
        ("s3://no-such-bucket/x", "results 's3://no-such-bucket/x' must be a folder that `hdsens"),
    ],
)
def test_what_is_no_place_is_one_line(uri, where, message):
    with pytest.raises(InputError) as caught:
        read_cells(where)
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_bucket_that_cannot_be_written_is_one_line(uri, small):
    with pytest.raises(InputError, match=r"^results 's3://no-such-bucket/x' cannot be written: "):
        run(Study.from_dict(small), "s3://no-such-bucket/x", executor="inline")


def test_a_server_that_does_not_answer_is_one_line(uri):
    with pytest.raises(InputError, match=r"^results 's3://.*' cannot be reached: .*; check the ad"):
        read_cells("s3://bucket/x?endpoint_override=127.0.0.1:1&scheme=http")


def test_local_results_load_no_object_store():
    code = "import sys; from hdsens.store import Store; Store('x').exists(); print([m for m in " \
        "('fsspec', 'boto3', 'torch', 'ray') if m in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
