"""What a run leaves to say where its numbers come from, and nothing that is secret."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from forked import environment, hdsens
from test_inline import train
from test_ray import write_toml
from tests_support import change

from hdsens import Study
from hdsens.launch.changes import changes, explain_changes
from hdsens.store import Store, read_results


def test_every_run_keeps_the_study_as_it_was_declared(small, tmp_path):
    train(small, tmp_path)
    later = change(small, ["protocol"], {"pilot_seeds": [7]})
    train(later, tmp_path)
    first, second = read_results(tmp_path).runs
    assert first["study"] == Study.from_dict(small).model_dump(mode="json")
    assert (first["study"]["protocol"], second["study"]["protocol"]["pilot_seeds"]) == (None, [7])


def test_a_change_that_trains_nothing_is_kept_too(small, tmp_path):
    train(change(small, ["protocol"], {"pilot_seeds": [7]}), tmp_path)
    margins = {"pilot_seeds": [7], "margins": {"best": 0.5}}
    train(change(small, ["protocol"], margins), tmp_path)
    train(change(small, ["protocol"], margins), tmp_path)
    runs = read_results(tmp_path).runs
    assert [run["study"]["protocol"]["margins"]["best"] for run in runs] == [0.02, 0.5]


def test_own_code_is_known_by_its_hash(small, tmp_path):
    train(change(small, ["task", "model"], "models_for_tests:linear"), tmp_path)
    (run,) = read_results(tmp_path).runs
    source = Path(__file__).with_name("models_for_tests.py").read_bytes()
    assert run["own_code"] == {"models_for_tests": hashlib.sha256(source).hexdigest()}


@pytest.mark.parametrize(
    ("path", "value", "lines"),
    [
        (["seeds"], 3, ["seeds: [0, 1] → [0, 1, 2]"]),
        (["task", "steps"], 6, ["task: steps: 12 → 6"]),
        (["arms", 0, "lr"], [0.0, 0.1, 1.0, 2.0],
         ["arm 'sgd': lr: [0.0, 0.1, 1.0] → [0.0, 0.1, 1.0, 2.0]"]),
        (["arms", 1, "settings"], {"momentum": 0.9},
         ["arm 'sgd_hd': settings: momentum: none → 0.9"]),
        (["targets"], {}, ['targets: low: {"batch_loss": 1.0} → none']),
        (["arms", 1, "name"], "hd", ["arm 'sgd_hd': removed", "arm 'hd': added"]),
        (["name"], "small", []),
    ],
)  # fmt: skip
def test_a_difference_names_arm_and_key_with_old_and_new(small, path, value, lines):
    studies = [Study.from_dict(data) for data in (small, change(small, path, value))]
    assert list(changes(*studies)) == lines


def test_a_difference_says_what_becomes_of_the_cells(small, tmp_path):
    from hdsens.study.cells import expand

    train(small, tmp_path)
    store = Store(tmp_path)
    study = Study.from_dict(change(small, ["arms", 0, "lr"], [0.0, 0.1, 1.0, 2.0]))
    lines = explain_changes(store, study, expand(study, store.study()[1]))
    assert lines[-1] == (
        "  18 of its 20 cells have a result, 2 are to train, 0 earlier ones stay unused"
    )
    study = Study.from_dict(change(small, ["task", "steps"], 24))
    lines = explain_changes(store, study, expand(study, store.study()[1]))
    assert lines[-2:] == (
        "  0 of its 18 cells have a result, 18 are to train, 18 earlier ones stay unused",
        "  another budget trains every cell anew, from its first step",
    )


def test_run_plan_and_status_show_the_difference(small, tmp_path):
    train(small, tmp_path / "results" / "small")
    longer = change(small, ["task", "steps"], 13)
    longer["arms"] = longer["arms"][:1]
    longer["seeds"] = 1
    write_toml(longer, tmp_path / "small.toml")
    expected = [
        "the study differs from the one in results/small (stored → now):",
        "  seeds: [0, 1] → [0]",
        "  task: steps: 12 → 13",
        "  arm 'sgd_hd': removed",
        "  0 of its 3 cells have a result, 3 are to train, 18 earlier ones stay unused",
        "  another budget trains every cell anew, from its first step",
    ]
    for command in ("plan", "status"):
        lines = hdsens(command, "small.toml", cwd=tmp_path).stdout.splitlines()
        assert [line for line in lines if line in expected] == expected
    ran = hdsens("run", "small.toml", "--executor", "inline", cwd=tmp_path)
    assert [line for line in ran.stderr.splitlines() if line in expected] == expected
    after = hdsens("status", "small.toml", cwd=tmp_path)
    assert "differs" not in after.stdout + after.stderr


@pytest.mark.ray
def test_nothing_secret_is_written_to_store_page_or_log(small, tmp_path):
    """With a token of Ray's, credentials, a user and a host name in the environment."""
    small |= {"arms": small["arms"][:1], "seeds": 1}
    small["task"]["model"] = "models_for_tests:tires"
    write_toml(copy.deepcopy(small), tmp_path / "small.toml")
    marks = {
        name: f"SECRET{secrets.token_hex(16)}"
        for name in ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "LOGNAME", "USER", "HOSTNAME")
    }
    marks["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    done = hdsens(
        *("run", "small.toml", "--out", "out", "--pack-size", "5", "--path", "plain"),
        cwd=tmp_path, env=environment(**marks), page=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(next((tmp_path / "out" / "runs").iterdir()).read_text())["executor"] == "ray"
    texts = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    texts += [done.stdout.encode(), done.stderr.encode()]
    assert len(texts) > 4
    for secret in [*marks.values(), os.uname().nodename]:
        if len(secret) > 3:  # a machine named "vm" is no secret, and no word to search for
            assert not any(secret.encode() in text for text in texts)


@pytest.mark.ray
def test_a_cluster_of_our_own_wants_a_token_that_no_file_holds(tmp_path):
    code = """
import os, socket, sys
from pathlib import Path
from hdsens.launch.ray.address import prepare
prepare(None)
from hdsens.launch.ray.cluster import open_cluster
import ray
with open_cluster(None):
    address = ray.get_runtime_context().gcs_address
    import subprocess
    stranger = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    probe = "import ray; ray.init(address=%r, log_to_driver=False); print('inside')" % address
    done = subprocess.run([sys.executable, "-c", probe], env={**stranger, "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64}, capture_output=True, text=True, timeout=500)
    print("refused" if "inside" not in done.stdout else "let in", file=sys.stderr)
    print(Path.home().joinpath(".ray").exists(), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(HOME=str(tmp_path)), text=True,
        capture_output=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.stderr.splitlines()[-2:] == ["refused", "False"], done.stderr


@pytest.mark.ray
def test_ray_may_be_imported_before_a_run(small, tmp_path):
    """As in a notebook. Ray has read its environment then: a token set now would lock us out."""
    small |= {"arms": small["arms"][:1], "seeds": 1}
    code = f"""import ray
from hdsens import Study, run
assert run(Study.from_dict({small!r}), {str(tmp_path / "out")!r}, path="plain").status.whole
"""
    bare = {k: v for k, v in environment(HOME=str(tmp_path)).items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, text=True, capture_output=True, timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
