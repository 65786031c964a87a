"""A cell that ends no better than it began is counted, unless nothing could have moved it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from strange import declare

from hdsens import read_cells, run
from hdsens.report import render
from hdsens.store import Store, read_results
from hdsens.store.learned import count_unlearned
from hdsens.store.wording import status_line, status_text


def frame(rows):
    names = ("outcome", "initial_loss", "train_loss", "lr", "hypergrad_lr")
    return pd.DataFrame(rows, columns=list(names))


def test_completed_cells_that_did_not_learn_are_counted_apart_from_those_that_cannot():
    none = float("nan")
    rows = [
        ("completed", 2.0, 1.0, 0.1, none),
        ("completed", 2.0, 3e20, 0.1, none),  # counts
        ("completed", 2.0, 2.0 - 1e-7, 0.1, none),  # less than rounding: counts
        ("completed", 2.0, 2.0, 0.0, none),  # nothing moves it
        ("completed", 2.0, 2.0, 0.0, 0.0),  # likewise
        ("completed", 2.0, 2.0, 0.0, 1e-3),  # HD might have moved it: counts
        ("diverged", 2.0, none, 0.1, none),
        ("failed", none, none, 0.1, none),
        ("completed", none, 1.0, 0.1, none),  # unknown
    ]
    assert count_unlearned(frame(rows)) == 3


def test_status_and_page_tell_how_many(tmp_path):
    study = declare(lr=[0.0, 0.1, 1e4])
    run(study, tmp_path, executor="inline", path="plain")
    cells = read_cells(tmp_path)
    assert cells["outcome"].tolist() == ["completed"] * 3
    assert cells["learned"].tolist() == [False, True, False]
    store = Store(tmp_path)
    found = status_text(store, store.expected())
    assert "no better        1  completed, but no better than untrained" in found.lines
    told = status_line(store.status(store.expected()))
    assert told.endswith("; 1 of the completed ended no better than untrained")
    assert "no better" not in status_line(replace(store.status(store.expected()), unlearned=0))
    page = render([read_results(tmp_path)])
    assert '<dd data-count="unlearned">1</dd>' in page
