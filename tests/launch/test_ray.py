"""The Ray executor on a real local cluster."""

from __future__ import annotations

import os
import re
import signal

import pytest
import ray
from forked import hdsens
from test_inline import same_numbers

from hdsens import InputError, Study, read_cells, run
from hdsens.launch import Resources, Safeguards
from hdsens.launch.ray import tune as ray_tune
from hdsens.store import Store
from hdsens.store.plan import read_plan

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster():
    """One CPU, so that one worker starts a run, and four GPUs that exist in Ray's books only."""
    ray.init("local", num_cpus=1, num_gpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def train(data, out, **options):
    return run(Study.from_dict(data), out, executor="ray", **options)


def write_toml(data, path):
    """The small studies are JSON-like enough to be written as TOML by hand."""
    import json

    arms = data.pop("arms")
    head = [f"{key} = {json.dumps(data.pop(key))}" for key in ("name", "seeds")]
    tables = [
        f"{name} = {inline(table)}" for name, table in data.items()
    ] + [f"arms = [{', '.join(inline(arm) for arm in arms)}]"]  # fmt: skip
    path.write_text("\n".join(head + tables))


def inline(value):
    import json

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(inline(v) for v in value) + "]"
    return json.dumps(value)


@pytest.mark.usefixtures("cluster")
def test_inline_and_ray_give_the_same_numbers(small, tmp_path):
    small["task"] |= {"model": "cnn", "model_settings": {"width": 2, "dropout": 0.3}}
    options = {"pack_size": 5, "path": "fused"}  # a plan that no measurement decides
    run(Study.from_dict(small), tmp_path / "inline", executor="inline", **options)
    done = train(small, tmp_path / "ray", **options)
    assert done.status.whole
    same_numbers(tmp_path / "inline", tmp_path / "ray")


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_dies_as_it_starts_counts_as_any_other(small, tmp_path, monkeypatch):
    """Tune does not say in its results which pack it was."""

    class DiesAsItStarts(ray_tune.PackTrial):
        def setup(self, config, shared):
            (tmp_path / f"died-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ray_tune, "PackTrial", DiesAsItStarts)
    small |= {"arms": small["arms"][:1], "seeds": 1}
    small["arms"][0]["lr"] = [0.0, 0.1]
    once = Safeguards(max_failures=1)
    status = train(small, tmp_path / "out", pack_size=2, path="plain", safeguards=once).status
    assert (status.completed, status.failed) == (0, 2)
    assert len(list(tmp_path.glob("died-*"))) == 1 + 2


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_cannot_be_set_up_fails_its_cells_with_the_reason(
    small, tmp_path, monkeypatch
):
    class CannotBeSetUp(ray_tune.PackTrial):
        def setup(self, config, shared):
            raise OSError("no such package on this node")

    monkeypatch.setattr(ray_tune, "PackTrial", CannotBeSetUp)
    small |= {"arms": small["arms"][:1], "seeds": 1}
    status = train(small, tmp_path / "out", pack_size=9, path="plain").status
    assert (status.failed, status.missing) == (3, 0)
    assert read_cells(tmp_path / "out")["error"].str.contains("no such package on this node").all()


@pytest.mark.usefixtures("cluster")
def test_a_pack_that_kills_its_workers_is_halved_until_only_the_culprit_fails(small, tmp_path):
    small["arms"] = [
        {"name": "a", "optimizer": "models_for_tests:KillsAtLrOne", "lr": [0.0, 0.1, 1.0]}
    ]
    small["seeds"] = 1
    done = train(small, tmp_path, pack_size=3, path="plain", safeguards=Safeguards(max_failures=1))
    assert (done.status.completed, done.status.failed, done.status.missing) == (2, 1, 0)
    cells = read_cells(tmp_path).set_index("lr")
    assert cells.loc[1.0, "error"] == (
        "its worker process died 1 times on this cell alone (killed, or out of memory): give it "
        "more memory, or look into what kills it"
    )
    plan = [ids for ids, _ in read_plan(Store(tmp_path).place)]
    assert sorted(ids for (ids,) in plan) == sorted(cells["cell_id"])


@pytest.mark.usefixtures("cluster")
def test_packs_get_the_gpus_that_they_ask_for(small, tmp_path):
    small["task"] |= {
        "model": "models_for_tests:notes_its_gpus",
        "model_settings": {"folder": str(tmp_path)},
    }
    small |= {"arms": small["arms"][:1], "seeds": 1}
    (tmp_path / "out").mkdir()
    options = {"pack_size": 5, "path": "plain", "resources": Resources(gpus_per_pack=1.0)}
    assert train(small, tmp_path / "out", **options).status.whole
    noted = {path.name for path in tmp_path.iterdir()} - {"out"}
    assert noted
    assert noted <= {"0", "1", "2", "3"}


@pytest.mark.usefixtures("cluster")
def test_a_reservation_that_no_node_can_hold_is_refused_at_once(small, tmp_path):
    with pytest.raises(InputError, match=r"must fit on one node of the cluster .*'GPU': 5"):
        train(small, tmp_path / "out", resources=Resources(gpus_per_pack=5))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cluster")
def test_a_model_that_cannot_begin_is_refused_by_the_worker_that_tries_it(small, tmp_path):
    small["task"]["model"] = "models_for_tests:counts"
    small["task"]["model_settings"] = {"folder": str(tmp_path / "absent")}
    told = (
        r"^study 'small': task: model 'models_for_tests:counts' must be built: FileNotFoundError: "
        r".*absent.* \(models_for_tests.py:\d+\); mend it or its settings$"
    )
    with pytest.raises(InputError, match=told):
        train(small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_address_where_no_cluster_answers_is_bad_input(small, tmp_path):
    write_toml(small, tmp_path / "small.toml")
    done = hdsens("run", "small.toml", "--address", "127.0.0.1:1", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert re.search(
        r"hdsens: --address must be a Ray cluster that answers: .*127.0.0.1:1", done.stderr
    )
    assert "Traceback" not in done.stderr
