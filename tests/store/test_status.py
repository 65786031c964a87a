"""What `status` says results have in common."""

from __future__ import annotations

from dataclasses import replace

from store_cases import cells_of, pack, record

from hdsens import Study
from hdsens.records import failure


def test_versions_and_devices_are_those_of_results(store, small):
    """A cell that failed says nothing of what trained the others."""
    study, cells = Study.from_dict(small), cells_of(small)
    store.append(study, pack(record(cells[0]), record(cells[1])))
    store.append(study, replace(pack(failure(cells[2], "broken")), device="unknown"))
    assert store.status(cells).mixtures == {}
    store.append(study, replace(pack(record(cells[3])), device="cuda"))
    assert store.status(cells).mixtures == {"device": {"cpu": 2, "cuda": 1}}
