"""Plans of drivers that add to them at the same time, and of earlier versions."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from store_cases import cells_of
from tests_support import change

from hdsens import Study
from hdsens.store import Store, place
from hdsens.store.parts import encode
from hdsens.store.plan import read_plan, read_plan_file
from hdsens.study.packs import halves, make_pack, pack_cells


@pytest.fixture
def meanwhile(monkeypatch):
    """Do something just before the next file is written, once."""

    def arrange(act):
        write = place.Folder.write

        def wrapped(self, *arguments):
            monkeypatch.setattr(place.Folder, "write", write)
            act()
            write(self, *arguments)

        monkeypatch.setattr(place.Folder, "write", wrapped)

    return arrange


def planned(store):
    return [tuple(ids) for ids, _ in read_plan(store.place)]


def ids(packs):
    return [tuple(cell.cell_id for cell in pack.cells) for pack in packs]


def test_drivers_that_extend_a_study_at_once_lose_nothing_of_each_others_plan(
    store, small, meanwhile
):
    """One adds a level, the other a seed; each had read the plan before the other wrote."""
    level = change(small, ["arms", 0, "lr"], [0.0, 0.1, 1.0, 0.5])
    seed = change(small, ["seeds"], [0, 1, 2])
    first = store.plan(cells_of(small), pack_cells(cells_of(small), Study.from_dict(small), 4))

    def plan(data):
        cells = cells_of(data)
        return Store(store.folder).plan(cells, pack_cells(cells, Study.from_dict(data), 4))

    rival = []
    meanwhile(lambda: rival.extend(plan(seed)))
    mine = plan(level)
    assert set(planned(store)) == {*ids(first), *ids(mine), *ids(rival)}
    assert plan(level) == mine
    assert plan(seed) == tuple(rival)


def test_drivers_that_plan_the_same_cells_at_once_agree_afterwards(store, small, meanwhile):
    study, cells = Study.from_dict(small), cells_of(small)
    meanwhile(lambda: Store(store.folder).plan(cells, pack_cells(cells, study, 5)))
    mine = store.plan(cells, pack_cells(cells, study, 4))
    first, _ = sorted((store.folder / "plan").iterdir())  # by key
    whole = {tuple(pack) for pack, _ in read_plan_file(store.place, f"plan/{first.name}")}
    assert whole <= set(planned(store))
    assert sorted(i for pack in planned(store) for i in pack) == sorted(c.cell_id for c in cells)
    again = Store(store.folder).plan(cells, pack_cells(cells, study, 18))
    assert again == mine
    assert len(list((store.folder / "plan").iterdir())) == 2


def test_halves_count_from_now_on_whatever_a_rival_plans(store, small, meanwhile):
    study, cells = Study.from_dict(small), cells_of(small)
    whole, *others = store.plan(cells[:12], pack_cells(cells[:12], study, 6))
    meanwhile(lambda: Store(store.folder).plan(cells, pack_cells(cells, study, 6)))
    store.replan(halves(whole))
    now = planned(store)
    assert set(now) > {*ids(halves(whole)), *ids(others)}
    assert sorted(itertools.chain(*now)) == sorted(c.cell_id for c in cells)


def test_what_is_said_later_counts_after_many_files_too(store, small):
    """Generations are numbers: the tenth is later than the ninth."""
    cells = cells_of(small)
    for n in range(1, 13):
        store.replan([make_pack(cells[:n])])
    assert planned(store) == ids([make_pack(cells[:12])])
    assert len(list((store.folder / "plan").iterdir())) == 12


def test_the_plan_of_an_earlier_version_stands_and_is_added_to(store, small):
    study, cells = Study.from_dict(small), cells_of(small)
    rows = [
        {"pack": i // 5, "cell_id": cell.cell_id, "path": "plain"}
        for i, cell in enumerate(cells[:15])
    ]
    content = encode(pa.Table.from_pylist(rows), {"part": "plan"})
    store.place.write("plan.parquet", content)
    packs = store.plan(cells, pack_cells(cells, study, 100))
    assert ids(packs)[:3] == ids(make_pack(cells[i : i + 5]) for i in (0, 5, 10))
    assert sorted(itertools.chain(*ids(packs))) == sorted(cell.cell_id for cell in cells)
    store.replan(halves(packs[0]))
    assert ids(packs)[0] not in planned(store)
    assert not store.damage()
    (store.folder / "plan.parquet").write_bytes(bytes(content)[:-9])
    (found,) = store.damage()
    assert found.aside == ("plan.parquet",)
