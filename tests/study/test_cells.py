import copy
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import change

from hdsens.errors import InputError
from hdsens.study import Study, Task
from hdsens.study.cells import budget_in_steps, canonical_json, expand, make_cell
from hdsens.study.packs import make_pack, pack_cells

N_TRAIN = 1294


def ids(data, n_train=N_TRAIN):
    return [cell.cell_id for cell in expand(Study.from_dict(data), n_train)]


def test_a_cell_id_is_the_sha256_of_its_canonical_json_by_hand(small):
    import hashlib

    small["arms"] = [{"name": "sgd", "optimizer": "SGD", "lr": 1, "settings": {"momentum": 0}}]
    small["seeds"] = [7]
    identity = (
        '{"arm":{"clip_grad_norm":0.0,"factors":{"lr":1.0},"name":"sgd","optimizer":"SGD",'
        '"schedule":"none","settings":{"momentum":0.0,"weight_decay":0.0001}},"seed":7.0,'
        '"stop":"budget","targets":{"low":1.0},"task":{"batch_size":128.0,"data":"digits",'
        '"data_settings":{},"dtype":"float32","model":"logreg","model_settings":{},"steps":12.0,'
        '"validation":0.1},"version":1.0}'
    )
    assert ids(small) == [hashlib.sha256(identity.encode()).hexdigest()]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "other"),
        (("trace", "points"), 7),
        (("trace", "evaluate"), [0.2]),
        (("arms", 1, "baseline"), None),
        (("protocol",), None),
    ],
)
def test_what_does_not_determine_the_result_is_not_in_the_identity(small, path, value):
    assert ids(change(small, path, value)) == ids(small)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("task", "model"), "mlp"),
        (("task", "data"), "mnist"),
        (("task", "model_settings"), {"width": 3}),
        (("task", "data_settings"), {"augment": True}),
        (("task", "batch_size"), 64),
        (("task", "validation"), "test"),
        (("task", "dtype"), "float64"),
        (("task", "steps"), 13),
        (("task", "weight_decay"), 0.0),
        (("targets", "low", "batch_loss"), 0.9),
        (("stop",), {"when": "targets"}),
        (("arms", 0, "optimizer"), "Adam"),
        (("arms", 0, "settings"), {"momentum": 0.9}),
        (("arms", 0, "schedule"), "inv_sqrt"),
        (("arms", 0, "clip_grad_norm"), 1.0),
    ],
)
def test_what_determines_the_result_changes_the_identity(small, path, value):
    small["arms"] = small["arms"][:1]
    assert not set(ids(change(small, path, value))) & set(ids(small))


@pytest.fixture
def varied(small):
    """Every kind of level: numbers, booleans, lists, whole numbers, and a protocol's seeds."""
    small["protocol"] = {"pilot_seeds": [100], "primary": {"sgd_hd": {"hypergrad_lr": 0.01}}}
    small["stop"] = {"when": "targets"}
    del small["task"]["steps"]
    small["task"]["epochs"] = 2
    adam = {"betas": [[0.9, 0.999], [0.5, 0.9]], "amsgrad": [True, False], "batch_size": [32, 64]}
    settings = {"eps": 1e-7, "amsgrad": True}
    small["arms"].append(
        {"name": "adam", "optimizer": "Adam", "lr": {"zero": True, "log10": [-2, 0]}}
        | {"factors": adam, "settings": settings, "schedule": "inv_sqrt", "clip_grad_norm": 1.5}
    )
    return Study.from_dict(small)


def test_a_cell_made_by_itself_is_the_grids(varied):
    for cell in expand(varied, N_TRAIN):
        alone = make_cell(varied, cell.arm, cell.factors, cell.seed, N_TRAIN)
        assert alone == cell
        assert list(alone.factors) == list(cell.factors)


def test_a_cell_can_be_made_off_the_grid(varied):
    grid = {cell.cell_id for cell in expand(varied, N_TRAIN)}
    cell = make_cell(varied, "sgd_hd", {"lr": 0, "hypergrad_lr": 3e-3, "momentum": 1}, 7, N_TRAIN)
    assert cell.cell_id not in grid
    assert cell.factors == {"lr": 0.0, "hypergrad_lr": 3e-3, "momentum": 1.0}
    assert (cell.arm, cell.seed, cell.role) == ("sgd_hd", 7, "pilot")
    arm = varied.arm("sgd_hd").model_dump() | {"lr": 0, "hypergrad_lr": 3e-3, "baseline": None}
    arm |= {"factors": {"momentum": 1}}
    grown = Study.from_dict(varied.model_dump() | {"seeds": [7], "protocol": None, "arms": [arm]})
    assert [c.cell_id for c in expand(grown, N_TRAIN)] == [cell.cell_id]


@pytest.mark.parametrize(
    ("arm", "factors", "seed", "message"),
    [
        ("nag", {"lr": 1.0}, 0,
         "study 'small': arm must be one of the study's (got 'nag'); "
         "arms: 'sgd', 'sgd_hd', 'adam'"),
        ("sgd_hd", {"lr": 1.0}, 0,
         "study 'small': arm 'sgd_hd' needs a level of hypergrad_lr; add it"),
        ("sgd", {"lr": -1.0}, 0,
         "study 'small': arm 'sgd': lr must be >= 0 (got -1.0); use 0 or a positive number"),
        ("sgd", {"lr": 1.0, "steps": 5}, 0,
         "study 'small': arm 'sgd': factor 'steps' must not be named like a result column; "
         "rename it"),
        ("sgd", {"lr": 1.0}, -1,
         "study 'small': seeds must be whole numbers from 0 to 2**32 - 1 (got [-1]); "
         "e.g. [0, 1, 2]"),
    ],
)  # fmt: skip
def test_a_cell_that_breaks_a_rule_is_refused_in_one_line(varied, arm, factors, seed, message):
    with pytest.raises(InputError) as caught:
        make_cell(varied, arm, factors, seed, N_TRAIN)
    assert str(caught.value) == message


def test_epochs_become_steps_and_equal_steps_are_equal_cells(small):
    with_epochs = copy.deepcopy(small)
    del with_epochs["task"]["steps"]
    with_epochs["task"]["epochs"] = 2
    assert ids(with_epochs, n_train=6 * 128) == ids(small)
    assert budget_in_steps(Task(model="x", epochs=3), 128, 1294) == 33  # last short batch kept


def test_adding_a_level_a_seed_or_an_arm_keeps_every_cell(small):
    before = set(ids(small))
    small["arms"][0]["lr"].append(0.5)
    small["arms"][1]["hypergrad_lr"].append(1e-4)
    small["seeds"] = 3
    small["arms"].append({"name": "adam", "optimizer": "Adam", "lr": 0.1})
    after = ids(small)
    assert before < set(after)
    assert len(set(after)) == len(after) == 3 * (4 + 9 + 1)


def test_precedence_is_factors_over_settings_over_task(small):
    small["arms"] = [{"name": "a", "optimizer": "SGD", "lr": 1, "settings": {"weight_decay": 0.5}}]
    from_settings = ids(small)
    small["task"]["weight_decay"] = 0.25
    assert ids(small) == from_settings  # the task's is overridden and does not matter
    small["arms"][0]["factors"] = {"weight_decay": [0.5, 0.75]}
    assert not set(ids(small)) & set(from_settings)


def test_batch_size_is_the_factors_then_the_settings_then_the_tasks(small):
    small["arms"] = [{"name": "a", "optimizer": "SGD", "lr": 1, "settings": {"batch_size": 64}}]
    (cell, _) = expand(Study.from_dict(small), N_TRAIN)
    assert cell.batch_size == 64
    small["arms"][0]["factors"] = {"batch_size": [32]}
    (cell, _) = expand(Study.from_dict(small), N_TRAIN)
    assert cell.batch_size == 32


def test_pilot_seeds_are_cells_of_their_own_role(small):
    small["protocol"] = {"pilot_seeds": [100]}
    cells = expand(Study.from_dict(small), N_TRAIN)
    assert {(c.seed, c.role) for c in cells} == {
        (100, "pilot"), (0, "confirmatory"), (1, "confirmatory"),
    }  # fmt: skip


numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(max_size=3), numbers | st.booleans() | st.text(max_size=3)))
def test_canonical_json_ignores_key_order_and_kind_of_number(data):
    shuffled = list(data.items())
    random.Random(0).shuffle(shuffled)
    as_floats = {
        k: float(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in shuffled
    }
    assert canonical_json(data) == canonical_json(as_floats)
    assert json.loads(canonical_json(data)) == as_floats


def test_minus_zero_is_zero():
    assert canonical_json(-0.0) == "0.0"


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 60))
def test_packs_partition_the_cells_evenly(n_levels, seeds, size):
    study = Study.from_dict(
        {
            "name": "p",
            "seeds": seeds,
            "task": {"model": "logreg", "steps": 1},
            "arms": [
                {"name": "s", "optimizer": "SGD", "lr": [float(i) for i in range(n_levels)]},
                {
                    "name": "h",
                    "optimizer": "SGDHD",
                    "lr": 0.1,
                    "hypergrad_lr": 0.1,
                    "baseline": None,
                },
                {"name": "a", "optimizer": "Adam", "lr": 0.1, "factors": {"batch_size": [32, 64]}},
            ],
        }
    )
    cells = expand(study, N_TRAIN)
    packs = pack_cells(cells, study, size)
    members = [cell.cell_id for pack in packs for cell in pack.cells]
    assert sorted(members) == sorted(cell.cell_id for cell in cells)
    for pack in packs:
        assert 1 <= len(pack.cells) <= size
        assert len({(c.seed, c.batch_size, c.arm == "a") for c in pack.cells}) == 1
    assert any({c.arm for c in pack.cells} == {"s", "h"} for pack in packs) or n_levels + 1 > size


def test_a_pack_is_named_after_the_set_of_its_cells(small):
    cells = expand(Study.from_dict(small), N_TRAIN)
    assert make_pack(cells).pack_id == make_pack(reversed(cells)).pack_id
    assert make_pack(cells).pack_id != make_pack(cells[1:]).pack_id


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1, "1.0"),
        (-0.0, "0.0"),
        (1e-5, "1e-05"),
        (2**53, "9007199254740992.0"),
        (
            {"b": [1, (False, None)], "a": {"é": "ß"}},
            r'{"a":{"\u00e9":"\u00df"},"b":[1.0,[false,null]]}',
        ),
    ],
)
def test_the_identity_is_made_of_these_texts(value, text):
    assert canonical_json(value) == text
