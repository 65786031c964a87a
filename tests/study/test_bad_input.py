"""Bad input: one line, exit status 2, nothing written, no hang."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from bad_studies import BAD_STUDIES, GOOD
from click.testing import CliRunner
from forked import hdsens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdsens import InputError, Study, read_cells, run
from hdsens.cli import cli
from hdsens.store import Store
from hdsens.study.cells import expand
from hdsens.training.check import check_study, examples_to_train


def one_useful_line(message):
    assert message.isprintable()
    assert 20 < len(message) < 700, message
    assert " must " in message or " needs " in message or " has no key " in message or (
        " refuses " in message or " cannot be " in message
    ), message  # fmt: skip


def test_the_study_that_the_bad_ones_come_from_is_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text(GOOD)
    check_study(Study.from_toml("good.toml"))
    assert len(BAD_STUDIES) >= 60


@pytest.mark.parametrize("name", BAD_STUDIES)
def test_a_malformed_study_is_one_line_and_writes_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_bytes(BAD_STUDIES[name])
    for command in (["plan"], ["status"], ["run", "--executor", "inline"]):
        done = CliRunner().invoke(cli, [*command, "bad.toml"], standalone_mode=False)
        assert isinstance(done.exception, InputError), done.exception
        one_useful_line(str(done.exception))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize("name", ["binary", "deep lists", "name up"])
def test_a_malformed_study_ends_a_real_process_with_status_2(tmp_path, name):
    (tmp_path / "bad.toml").write_bytes(BAD_STUDIES[name])
    done = hdsens("run", "bad.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("hdsens: study")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/proc/self/mem", "x" * 5000, "a\0b"])
def test_what_is_no_file_is_one_line(path):
    with pytest.raises(InputError) as caught:
        Study.from_toml(path)
    assert str(caught.value).startswith("study file ")
    assert str(caught.value).isprintable()


NESTED: object = {}
for _ in range(5000):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize(
    "data",
    [
        None, 3, [], "text", {}, {"name": NESTED}, {"task": {"model_settings": NESTED}},
        {"name": "x", "task": {"model": "m", "steps": 1}, "arms": [NESTED]},
        {"name": "x", "task": {"model": "m", "steps": 1},
         "arms": [{"name": "a", "optimizer": "SGD", "lr": 0.1, "settings": {"a": NESTED}}]},
        {"name": "x", "seeds": 10**5000, "task": {}, "arms": []},
        {"name": "x", "task": {"model": "m", "steps": 10**5000}, "arms": []},
        {"name": "x\ud800", "task": {"model": "m", "steps": 1}, "arms": []},
        {"name": "x", "task": {"model": "\ud800", "steps": 1}, "arms": []},
        {"name": "x", "seeds": range(10**12), "task": {"model": "m", "steps": 1}, "arms": []},
        {"name": "x", "task": {"model": "m", "steps": 1},
         "arms": [{"name": f"a{i}", "optimizer": "SGD", "lr": 0} for i in range(20_000)]},
    ],
    ids=range(15),
)  # fmt: skip
def test_a_hostile_value_in_python_is_one_line(data):
    with pytest.raises(InputError) as caught:
        Study.from_dict(data)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_every_point_is_checked_before_anything_is_written(tmp_path):
    arm = {
        "name": "sgd",
        "optimizer": "SGD",
        "lr": {"log10": [-6, 0], "per_decade": 500},
        "factors": {"momentum": [0.0, 0.9, -1.0]},
    }
    data = {"name": "late", "seeds": 1, "task": {"model": "logreg", "steps": 1}, "arms": [arm]}
    with pytest.raises(
        InputError, match="optimizer SGD refuses its arguments: ValueError: Invalid momentum"
    ):
        run(Study.from_dict(data), tmp_path / "out", executor="inline")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("🎉.toml", None),
        ('quo"ted.toml', None),
        ("ünï.toml", None),
        ("\udcff.toml", "must hold text that is Unicode"),
        ("a\nb.toml", "must be printable"),
        (".toml", "must be a plain name"),
        ("x" * 200 + ".toml", "must be at most 100 bytes"),
        ("x\\y.toml", "must be a plain name"),
    ],
)
def test_new_takes_any_name_that_a_study_can_have(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["new", name], standalone_mode=False)
    if message is None:
        assert done.exception is None, done.exception
        assert Study.from_toml(name).name == Path(name).stem
    else:
        assert isinstance(done.exception, InputError)
        assert message in str(done.exception)
        assert str(done.exception).isprintable()
        assert not list(tmp_path.iterdir())


def paths(value, prefix=()):
    yield prefix
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(inner, (*prefix, key))


VALID = {
    "name": "small",
    "seeds": [0, 1],
    "task": {
        "model": "mlp", "data": "digits", "steps": 3, "weight_decay": 1e-4, "batch_size": 32,
        "validation": 0.2, "dtype": "float32", "model_settings": {"width": 4}, "data_settings": {},
    },
    "trace": {"points": 5, "evaluate": [0.5, 1.0]},
    "targets": {"low": {"batch_loss": 1.0}},
    "stop": {"when": "targets"},
    "protocol": {
        "pilot_seeds": [7], "margins": {"ratio": 0.5}, "primary": {"hd": {"hypergrad_lr": 0.01}},
    },
    "arms": [
        {"name": "sgd", "optimizer": "SGD", "lr": [0.0, 0.1], "schedule": "none",
         "settings": {"momentum": 0.9}, "factors": {"nesterov": [False, True]}},
        {"name": "hd", "optimizer": "SGDHD", "baseline": "sgd", "lr": [0.0, 0.1],
         "hypergrad_lr": [0.01], "settings": {"momentum": 0.9}, "clip_grad_norm": 0.0,
         "factors": {"nesterov": [False, True]}},
    ],
}  # fmt: skip
RUBBISH = st.one_of(
    st.sampled_from([
        None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.0, -0.0, 1e308, 1e-320, float("nan"),
        float("inf"), "", " ", "..", "a/b", "\0", "\ud800", "x" * 3000, "<script>", "SGD", "test",
        "builtins:print", "os:system", [], {}, [[]], [0.1, 0.1], {"log10": [-3, 0]}, {"zero": True},
        [float("nan")], ["a", 1, True], {"a": {"b": []}}, {"": 1}, {"../x": 1}, (1, 2), b"bytes",
    ]),
    st.integers(), st.floats(), st.text(max_size=4),
    st.lists(st.floats() | st.integers() | st.booleans(), max_size=3),
)  # fmt: skip


@st.composite
def mutated(draw):
    """The valid study with one to three places exchanged, removed or added."""
    data = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        places = [path for path in paths(data) if path]
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        place = data
        for key in parents:
            place = place[key]
        action = draw(st.sampled_from(["exchange", "exchange", "remove", "add"]))
        if action == "exchange":
            place[last] = copy.deepcopy(draw(RUBBISH))
        elif action == "remove":
            del place[last]
        elif isinstance(place, dict):
            key = draw(st.text(max_size=3) | st.sampled_from(["lr", "seeds", "factors"]))
            place[key] = copy.deepcopy(draw(RUBBISH))
        else:
            place.append(copy.deepcopy(draw(RUBBISH)))
    return data


def checked(data):
    try:
        study = Study.from_dict(data)
        check_study(study)
    except InputError as error:
        return str(error)
    return study


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_a_mutated_study_is_refused_in_one_line_or_can_be_run_and_stored(tmp_path_factory, data):
    study = checked(data)
    if isinstance(study, str):
        assert study.isprintable()
        assert len(study) < 1500
        return
    n_train = examples_to_train(study.task)
    cells = expand(study, n_train)
    assert len({cell.cell_id for cell in cells}) == len(cells)
    store = Store(tmp_path_factory.mktemp("store"))
    store.begin(study, n_train)
    assert json.loads((store.folder / "study.json").read_text())["train_size"] == n_train
    again, size = store.study()
    assert (again, size) == (study, n_train)
    assert expand(again, size) == cells
    assert read_cells(store.folder).empty
