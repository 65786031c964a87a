"""A corpus of malformed stores: each command that reads says so in one line and changes nothing."""

from __future__ import annotations

import json
import os
from functools import partial

import pytest
from click.testing import CliRunner
from forked import hdsens
from test_damage import DAMAGES, DOCUMENTS, OF_CELLS, STUDIES, full, parts
from test_strangers import HUGE
from tests_support import change

from hdsens import InputError, Study, run
from hdsens.cli import cli
from hdsens.store import Store

__all__ = ["full"]  # a fixture
RECORD = "runs/20260101T000000-a.json"


def pipe(path):
    """A reader would wait for ever."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def device(path):
    """A reader would read for ever."""
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def document(content, path):
    folder(path) if content is None else path.write_bytes(content)


def hostile(where, value, path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"study": change(content["study"], where, value)}))


def in_place_of(kind, damage, store):
    if kind in ("cells", "traces"):
        damage(parts(store, kind)[0])
    else:
        damage(store.folder / kind)


NEITHER = {"pipe": pipe, "device": device}
CORPUS = {
    **{f"cells {n}": ("cells", do) for n, (do, _) in {**DAMAGES, **OF_CELLS}.items()},
    **{f"traces {n}": ("traces", do) for n, (do, _) in DAMAGES.items()},
    **{f"{kind} {n}": (kind, do) for kind in ("cells", "traces", "study.json", RECORD)
       for n, do in NEITHER.items()},
    **{f"study {i}": ("study.json", partial(document, content))
       for i, (content, _) in enumerate(DOCUMENTS + STUDIES)},
    **{f"record {i}": (RECORD, partial(document, content))
       for i, (content, _) in enumerate([*DOCUMENTS, (b"{}", "")])},
    **{f"huge {where[-1]}": ("study.json", partial(hostile, where, value))
       for where, value in HUGE if not isinstance(value, list)},  # a list takes seconds a reader
}  # fmt: skip


def test_the_corpus_is_large():
    assert len(CORPUS) >= 60


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", CORPUS)
def test_a_malformed_store_is_one_line_and_stays_as_it_is(full, name):
    in_place_of(*CORPUS[name], full)
    theirs, before = str(full.folder), content(full.folder)
    commands = (["report"], ["status"], ["status", "--check"], ["verdict"], ["diff", theirs])
    refused = []
    for command in commands:
        done = CliRunner().invoke(cli, [*command, theirs], standalone_mode=False)
        if done.exception is not None:
            assert isinstance(done.exception, InputError), (command, done.exc_info)
            message = str(done.exception)
            assert message.isprintable()
            assert " must " in message
            assert len(message) < 700
            refused.append(command)
        elif command == ["status", "--check"]:
            assert done.return_value == 1
            assert "\ndamaged: file " in done.output
    assert ["report"] in refused  # it reads everything
    assert content(full.folder) == before


def content(folder):
    return {p: p.read_bytes() if p.is_file() else p.lstat().st_mode for p in folder.rglob("*")}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["cells", "study.json", RECORD])
def test_a_run_sets_a_pipe_aside_and_goes_on(full, small, kind):
    in_place_of(kind, pipe, full)
    assert run(Study.from_dict(small), full.folder, executor="inline").status.whole
    assert len([p for p in full.folder.rglob("*.damaged") if p.is_fifo()]) == 1
    assert not Store(full.folder).damage()


@pytest.mark.parametrize("name", ["study.json pipe", "cells swap", "record 1"])
def test_a_malformed_store_ends_a_real_process_with_status_2(full, name):
    in_place_of(*CORPUS[name], full)
    done = hdsens("report", full.folder, cwd=full.folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hdsens: file ")
    assert done.stderr.count("\n") == 1
