"""The contract of executors: inline and Ray go through the same list of cases."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

import pytest
import ray
from test_inline import same_numbers

from hdsens import Study, read_cells
from hdsens.launch import Resources, Safeguards
from hdsens.launch.executor import Means
from hdsens.launch.interrupts import Interrupts
from hdsens.launch.opening import EXECUTORS, open_executor
from hdsens.launch.ray.deaths import after_death
from hdsens.launch.ray.feed import Order, Submission
from hdsens.store import Store
from hdsens.study.cells import expand, make_cell
from hdsens.study.packs import halves, make_pack, pack_cells
from hdsens.training.check import examples_to_train


@pytest.fixture(scope="module")
def cluster():
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.ray if n == "ray" else ()) for n in EXECUTORS]
)
def name(request):
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return request.param


@contextmanager
def opened(name, study, out, cpus_per_pack=2):
    """One worker trains all, unless a pack takes fewer than the two CPUs there are."""
    store = Store(out)
    store.begin(study, examples_to_train(study.task))
    with Interrupts() as interrupts:
        means = Means(study, store, Resources("cpu", cpus_per_pack), Safeguards(), interrupts)
        with open_executor(name, means) as executor:
            yield executor


def cells_of(study):
    return expand(study, examples_to_train(study.task))


def test_packs_that_are_submitted_one_by_one_are_each_given_back_and_stored_once(
    small, tmp_path, name, capsys
):
    """While others train; what this process prints meanwhile is left alone."""
    study = Study.from_dict(small)
    packs = pack_cells(cells_of(study), study, 2)
    waiting, given, shown = list(packs), [], []
    with opened(name, study, tmp_path / "fed") as executor:
        print("opened")
        for _ in range(3):
            executor.submit(waiting.pop(0))
        for done in executor.finished(lambda ended: shown.append(dict(ended))):
            print("finished")
            assert done.ended == {"completed": len(done.pack.cells)}
            given.append(done.pack)
            if waiting:
                executor.submit(waiting.pop(0))
        assert not list(executor.finished())
    assert sorted(p.pack_id for p in given) == sorted(p.pack_id for p in packs)
    assert capsys.readouterr().out == "opened\n" + "finished\n" * len(packs)
    assert shown[-1] == {"completed": 18}
    parts = list((tmp_path / "fed" / "parts").glob("cells-*"))
    assert len(parts) == len(packs) == 10
    with opened("inline", study, tmp_path / "whole") as executor:
        for pack in packs:
            executor.submit(pack)
        assert [done.pack for done in executor.finished()] == list(packs)
    same_numbers(tmp_path / "fed", tmp_path / "whole")


def test_cells_beside_the_grid_train_in_packs_of_their_own(small, tmp_path, name):
    study = Study.from_dict(small)
    train_size = examples_to_train(study.task)
    factors = ({"lr": 0.3, "hypergrad_lr": 0.02}, {"lr": 0.2, "hypergrad_lr": 0.0})
    cells = [make_cell(study, "sgd_hd", point, 7, train_size) for point in factors]
    with opened(name, study, tmp_path) as executor:
        executor.submit(make_pack(cells, "fused", source="tpe"))
        (done,) = executor.finished()
    assert done.ended == {"completed": 2}
    assert read_cells(tmp_path).empty
    found = read_cells(tmp_path, all=True)
    assert sorted(found["lr"]) == [0.2, 0.3]
    assert found["source"].tolist() == ["tpe", "tpe"]


def test_a_pack_that_fails_or_that_a_rival_committed_is_finished_too(small, tmp_path, name):
    small["task"] |= {
        "model": "models_for_tests:tires",
        "model_settings": {"marker": str(tmp_path / "marker")},
    }
    study = Study.from_dict(small)
    first, second = pack_cells(cells_of(study), study, 9)
    with opened("inline", study, tmp_path / "out") as rival:
        rival.submit(first)
        list(rival.finished())
    (tmp_path / "marker").touch()
    with opened(name, study, tmp_path / "out") as executor:
        executor.submit(first)
        executor.submit(second)
        ended = {done.pack.pack_id: done.ended for done in executor.finished()}
    assert ended == {first.pack_id: {}, second.pack_id: {"failed": 9}}
    assert Store(tmp_path / "out").status(cells_of(study)).completed == 9


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_workers_stay_while_the_executor_is_open_and_one_that_dies_idle_costs_one_try(
    small, tmp_path
):
    small["task"] |= {
        "model": "models_for_tests:names_its_worker",
        "model_settings": {"folder": str(tmp_path)},
    }
    study = Study.from_dict(small | {"seeds": 9})
    packs = iter(pack_cells(cells_of(study), study, 1))

    def workers():
        return {path.name for path in tmp_path.iterdir() if path.name.isdigit()}

    with opened("ray", study, tmp_path / "out", cpus_per_pack=1) as executor:
        rounds = 0
        while rounds < 3:  # once both are up
            rounds += len(workers()) == 2
            for _ in range(2):
                executor.submit(next(packs))
            assert len(list(executor.finished())) == 2
        assert len(workers()) == 2
        os.kill(int(workers().pop()), signal.SIGKILL)
        for _ in range(2):
            executor.submit(next(packs))
        assert [done.ended for done in executor.finished()] == [{"completed": 1}] * 2


def test_a_searchs_cell_that_kills_its_workers_is_failed_under_the_searchs_name(small, tmp_path):
    study, store = Study.from_dict(small), Store(tmp_path)
    cell = make_cell(study, "sgd", {"lr": 0.3}, 7, examples_to_train(study.task))
    pack = make_pack([cell], source="tpe")
    store.begin(study, examples_to_train(study.task))
    with Interrupts() as interrupts:
        means = Means(study, store, Resources("cpu"), Safeguards(), interrupts)
        order = Order(pack, Submission(pack, {pack.pack_id}), alone=True)
        (again,) = after_death(means, order, RuntimeError("killed")).orders
        assert (again.pack, again.alone, again.deaths) == (pack, True, 1)
        assert after_death(means, again, RuntimeError("killed")).failed == 1
    (row,) = read_cells(tmp_path, all=True).to_dict("records")
    assert (row["outcome"], row["source"]) == ("failed", "tpe")
    assert [half.source for half in halves(make_pack([cell, cell], source="tpe"))] == ["tpe"] * 2
