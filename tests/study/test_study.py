import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdsens import Arm, InputError, Study, Task
from hdsens.study.levels import log_grid

STUDIES = sorted(Path(__file__).parents[2].glob("studies/*.toml"))

FILE = """
name = "tiny"
seeds = 3
[task]
model = "logreg"
epochs = 5
[[arms]]
name = "sgd"
optimizer = "SGD"
lr = { zero = true, log10 = [-1, 0], per_decade = 2 }
[[arms]]
name = "sgd_hd"
optimizer = "SGDHD"
baseline = "sgd"
lr = [0, 0.1]
hypergrad_lr = 1e-3
factors = { betas = [[0.9, 0.99]], nesterov = [true, false] }
"""


def test_file_and_python_declare_the_same_study(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(FILE)
    in_python = Study(
        name="tiny",
        seeds=[0, 1, 2],
        task=Task(model="logreg", epochs=5),
        arms=[
            Arm(name="sgd", optimizer="SGD", lr=[0, 0.1, 0.316228, 1]),
            Arm(
                name="sgd_hd",
                optimizer="SGDHD",
                baseline="sgd",
                lr=(0, 0.1),
                hypergrad_lr=0.001,
                factors={"betas": [(0.9, 0.99)], "nesterov": [True, False]},
            ),
        ],
    )
    assert Study.from_toml(path) == in_python


def test_study_survives_json():
    told = {**_dict(), "protocol": {"pilot_seeds": [100]}}
    told["arms"][0]["settings"] = {"betas": (0.9, 0.99)}  # a Python tuple comes back as a list
    study = Study.from_dict(told)
    assert Study.from_dict(json.loads(study.model_dump_json())) == study


def test_a_primary_level_is_any_level_that_the_arm_has():
    data = _dict()
    data["arms"][1]["factors"] = {"variant": ["plain", "heavy"], "width": [1, 2]}
    data["arms"][0]["factors"] = {"width": [1, 2]}
    data["protocol"] = {"pilot_seeds": [9], "primary": {"hd": {"variant": "heavy", "width": 2}}}
    study = Study.from_dict(data)
    assert Study.model_validate_json(study.model_dump_json()) == study
    chosen = study.model_dump(mode="json")["protocol"]["primary"]["hd"]
    assert json.dumps(chosen) == '{"variant": "heavy", "width": 2.0}'


def test_study_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Study.from_dict(_dict()).name = "other"


def test_a_copy_of_a_study_gives_its_own_arms():
    arm = Arm(name="sgd", optimizer="SGD", lr=0.1)
    study = Study(name="t", task=Task(model="logreg", steps=1), arms=[arm])
    assert study.arm("sgd") == arm
    heavy = arm.model_copy(update={"settings": {"momentum": 0.9}})
    assert study.model_copy(update={"arms": (heavy,)}).arm("sgd") == heavy
    assert study.arm("sgd") == arm


def test_seed_zero_is_a_seed():
    assert Study.from_dict({**_dict(), "seeds": 1}).seeds == (0,)


@pytest.mark.parametrize(
    ("low", "high", "per_decade", "levels"),
    [
        (-6, -4, 2, (1e-6, 3.16228e-6, 1e-5, 3.16228e-5, 1e-4)),
        (0, 0, 1, (1.0,)),
        (-1, 1, 1, (0.1, 1.0, 10.0)),
        (-0.5, 0.5, 1, (0.316228, 3.16228)),
        (0, 1, 3, (1.0, 2.15443, 4.64159, 10.0)),
    ],
)
def test_log_grid_by_hand(low, high, per_decade, levels):
    assert log_grid(low, high, per_decade) == levels


@given(st.integers(-8, 3), st.integers(0, 6), st.integers(1, 5))
def test_log_grid_has_per_decade_levels_in_each_decade(low, decades, per_decade):
    levels = log_grid(low, low + decades, per_decade)
    assert len(levels) == decades * per_decade + 1
    assert levels[0] == float(f"1e{low}")
    assert levels[-1] == float(f"1e{low + decades}")
    assert all(
        b / a == pytest.approx(10 ** (1 / per_decade), rel=1e-5) for a, b in pairwise(levels)
    )


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_studies_in_the_repository_are_valid_and_named_after_their_files(path):
    assert Study.from_toml(path).name == path.stem


def _dict():
    return {
        "name": "tiny",
        "seeds": 3,
        "task": {"model": "logreg", "epochs": 5},
        "arms": [
            {"name": "sgd", "optimizer": "SGD", "lr": [0, 0.1]},
            {
                "name": "hd",
                "optimizer": "SGDHD",
                "baseline": "sgd",
                "lr": [0, 0.1],
                "hypergrad_lr": 1e-3,
            },
        ],
    }


def _with(path, value):
    data = _dict()
    *parents, last = path
    place = data
    for key in parents:
        place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
    place[last] = value
    return data


A, H = ("arms", 0), ("arms", 1)
GRID = "e.g. { zero = true, log10 = [-6, 0], per_decade = 2 }"

BAD = [
    (("arms", 1, "hypergrad_lr"), -0.001,
     "study 'tiny': arm 'hd': hypergrad_lr must be >= 0 (got -0.001); use 0 or a positive number"),
    ((*A, "lr"), [-0.1], "study 'tiny': arm 'sgd': lr must be >= 0 (got -0.1); "
     "use 0 or a positive number"),
    ((*A, "lr"), [], f"study 'tiny': arm 'sgd': lr must have at least one level (got []); {GRID}"),
    ((*A, "lr"), {},
     f"study 'tiny': arm 'sgd': lr must have log10 = [low, high] (got None); {GRID}"),
    ((*A, "lr"), "big", f"study 'tiny': arm 'sgd': lr must be numbers >= 0 (got 'big'); {GRID}"),
    ((*A, "lr"), [0.1, 0.1], "study 'tiny': arm 'sgd': lr must name each level once (got 0.1); "
     "remove the repetition"),
    ((*A, "lr"), float("inf"), "study 'tiny': arm 'sgd': lr must be finite (got inf); "
     "name a finite level"),
    ((*A, "lr"), {"log10": [-1, 0.3]}, "study 'tiny': arm 'sgd': lr must have a whole number of "
     "levels between the ends of log10 (got [-1, 0.3]); with per_decade = 1 move one end"),
    ((*A, "lr"), {"log10": [0, -1]}, "study 'tiny': arm 'sgd': lr must have low <= high in log10, "
     f"both within ±300 (got [0, -1]); {GRID}"),
    ((*A, "lr"), {"log10": [0, 1], "zer": True},
     f"study 'tiny': arm 'sgd': lr has no key 'zer'; {GRID}"),
    ((*H, "lrr"), 1, "study 'tiny': arm 'hd' has no key 'lrr'; did you mean 'lr'?"),
    (("sedes",), 3, "study 'tiny' has no key 'sedes'; did you mean 'seeds'?"),
    (("task", "qq"), 3, "study 'tiny': task has no key 'qq'; keys are: batch_size, data, "
     "data_settings, dtype, epochs, loss, loss_settings, model, model_settings, steps, validation, "
     "weight_decay"),
    (("name",), "../x", "study '../x': name must be a plain name, not a path (got '../x'); "
     "use letters, digits, '_' and '-'; --out says where results go"),
    (("name",), "/etc", "study '/etc': name must be a plain name, not a path (got '/etc'); "
     "use letters, digits, '_' and '-'; --out says where results go"),
    (("name",), "a\0b", "study 'a\\x00b': name must be printable (got 'a\\x00b'); "
     "remove control characters"),
    (("name",), "", "study '': name must be text that is not empty (got ''); e.g. 'sgd_hd'"),
    (("seeds",), 0, "study 'tiny': seeds must hold at least one seed (got 0); e.g. seeds = 10"),
    (("seeds",), [], "study 'tiny': seeds must hold at least one seed (got []); e.g. seeds = 10"),
    (("seeds",), [1, 1], "study 'tiny': seeds must differ from each other (got [1, 1]); "
     "name each seed once"),
    (("seeds",), True, "study 'tiny': seeds must be a count or a list of whole numbers (got True); "
     "e.g. seeds = 10"),
    (("seeds",), [-1], "study 'tiny': seeds must be whole numbers from 0 to 2**32 - 1 (got [-1]); "
     "e.g. [0, 1, 2]"),
    (("arms",), [], "study 'tiny': arms must have at least one entry (got []); correct the value"),
    (("arms",), 3, "study 'tiny': arms must be a list (got 3); correct the value"),
    ((*H, "name"), "sgd", "study 'tiny': arms must name each arm once (got 'sgd'); rename one"),
    ((*H, "baseline"), "no", "study 'tiny': arm 'hd': baseline must name another arm (got 'no'); "
     "other arms: 'sgd'"),
    ((*H, "baseline"), "hd", "study 'tiny': arm 'hd': baseline must name another arm (got 'hd'); "
     "other arms: 'sgd'"),
    ((*H, "lr"), [0.5], "study 'tiny': arm 'hd': baseline must have every level of lr that the arm "
     "has (got 0.5); add that level to arm 'sgd'"),
    ((*A, "factors"), {"momentum": [0.0, 0.9]}, "study 'tiny': arm 'hd': baseline must not vary "
     "momentum, which the arm does not (got 'sgd'); give arm 'hd' the same levels of momentum"),
    ((*A, "baseline"), "hd", "study 'tiny': arm 'sgd': baseline must name an arm that has no "
     "baseline itself (got 'hd'); name 'sgd', the base of that family"),
    ((*A, "factors"), {"outcome": [1]}, "study 'tiny': arm 'sgd': factor 'outcome' must not be "
     "named like a result column; rename it"),
    ((*A, "factors"), {"lr": [1]}, "study 'tiny': arm 'sgd': factor 'lr' must not be named like a "
     "result column; write lr = … in the arm"),
    ((*A, "factors"), {"batch_size": [0]}, "study 'tiny': arm 'sgd': factor 'batch_size' must be "
     "whole numbers >= 1 (got 0); e.g. [32, 128]"),
    ((*A, "settings"), {"batch_size": 1.5}, "study 'tiny': arm 'sgd': settings: batch_size must be "
     "whole numbers >= 1 (got 1.5); e.g. [32, 128]"),
    ((*A, "settings"), {"lr": 1}, "study 'tiny': arm 'sgd': settings must not hold lr; "
     "write lr = … in the arm"),
    (("task", "epochs"), 0, "study 'tiny': task: epochs must be greater than or equal to 1 "
     "(got 0); correct the value"),
    (("task", "steps"), 5, "study 'tiny': task needs either epochs or steps; e.g. epochs = 10"),
    (("task", "validation"), 1.0, "study 'tiny': task: validation must be a share between 0 and 1, "
     "a count of examples, or 'test' (got 1.0); e.g. validation = 0.1"),
    (("task", "dtype"), "half", "study 'tiny': task: dtype must be 'float32' or 'float64' "
     "(got 'half'); correct the value"),
    (("task",), 3, "study 'tiny': task must be a table (got 3); correct the value"),
    (("stop",), {"when": "targets"}, "study 'tiny': stop: when needs at least one target "
     "(got 'targets'); add [targets]"),
    (("targets",), {"a b": {"batch_loss": 1}}, "study 'tiny': targets: a b must be a Python "
     "identifier (got 'a b'); use letters, digits and '_'"),
    (("protocol",), {"pilot_seeds": [2]}, "study 'tiny': protocol: pilot_seeds must not be among "
     "the study's seeds (got 2); use other numbers, e.g. [100, 101, 102]"),
    (("protocol",), {"pilot_seeds": [9], "primary": {"x": {}}}, "study 'tiny': protocol: primary "
     "'x' must name an arm (got 'x'); arms: sgd, hd"),
    (("task", "model_settings"), {"since": __import__("datetime").date(2026, 1, 1)},
     "study 'tiny': task: model_settings must hold only numbers, text, booleans, lists and tables "
     "(got datetime.date(2026, 1, 1)); write it as text"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_bad_study_is_one_line_with_thing_rule_value_remedy(path, value, message):
    with pytest.raises(InputError) as caught:
        Study.from_dict(_with(path, value))
    assert str(caught.value) == message


@pytest.mark.parametrize("content", ["name = ", "\0", "[a]\n[a]", "x = " + "[" * 5000])
def test_unreadable_toml_is_one_line(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(
        InputError, match=r"^study file '.*bad\.toml' must be TOML: .*; mend that"
    ) as e:
        Study.from_toml(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("path", ["missing.toml", "."])
def test_unreadable_file_is_one_line(tmp_path, path):
    with pytest.raises(InputError, match=r"cannot be read: .*; check the path"):
        Study.from_toml(tmp_path / path)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "seeds", "task", "arms", "lr", "model"]), inner),
))  # fmt: skip
def test_any_rubbish_is_an_input_error(data):
    with pytest.raises(InputError) as caught:  # it never has the keys of a whole study
        Study.from_dict(data)
    assert str(caught.value).isprintable()
