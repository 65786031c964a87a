"""Numbers and names of a study file mean in training what they say in the file."""

from __future__ import annotations

import pytest
from strange import cells_of, declare
from torch import nn

from hdsens import InputError, Study
from hdsens.records import PackRecord
from hdsens.store.tables import cells_table
from hdsens.study.starter import write_starter
from hdsens.training.optimizers import build_optimizer, check_optimizers
from hdsens.training.pack import PackTraining

FILE = """
name = "u"
seeds = 1
[task]
model = "logreg"
steps = 1
weight_decay = 0.0
[[arms]]
name = "a"
optimizer = "SGD"
lr = [0.1]
"""


def refusal(tmp_path, old, new):
    (tmp_path / "s.toml").write_text(FILE.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Study.from_toml(tmp_path / "s.toml")
    return str(caught.value).replace(str(tmp_path), "")


def test_a_byte_order_mark_is_read(tmp_path):
    write_starter(tmp_path / "s.toml")
    content = (tmp_path / "s.toml").read_bytes()
    (tmp_path / "b.toml").write_bytes(b"\xef\xbb\xbf" + content)
    assert Study.from_toml(tmp_path / "b.toml") == Study.from_toml(tmp_path / "s.toml")


@pytest.mark.parametrize("place", ["lr = [0.1]", "weight_decay = 0.0"])
def test_a_number_that_no_float_holds_is_refused_wherever_it_stands(tmp_path, place):
    name = place.partition(" = ")[0]
    value = "[-1.5E-4_00]" if name == "lr" else "1e-400"
    told = refusal(tmp_path, place, f"{name} = {value}")
    assert told == (
        f"study file '/s.toml' must be TOML: {value.strip('[]')} is so small that it would become "
        "0; mend that place"
    )
    assert "so large that it would become infinity" in refusal(tmp_path, place, f"{name} = 1e400")


def test_zero_and_infinity_may_be_written_in_any_way(tmp_path):
    for zero in ("0.0", "-0.0", "0e7", "0.000_0E-400"):
        (tmp_path / "s.toml").write_text(FILE.replace("[0.1]", f"[{zero}]"), encoding="utf-8")
        assert Study.from_toml(tmp_path / "s.toml").arms[0].lr == (0.0,)
    assert "must be TOML" not in refusal(tmp_path, "[0.1]", "[inf]")


@pytest.mark.parametrize("level", [1e-40, [0.9, 1e-46]])
def test_a_level_that_the_dtype_of_training_would_take_for_zero_is_refused(level):
    with pytest.raises(InputError) as caught:
        declare(factors={"betas": [level]})
    told = str(caught.value)
    assert told.startswith("study 's': arm 'a': betas must be 0 or at least 1.18e-38: float32 has")
    assert told.endswith("; use 0 or a larger level")
    declare(task={"dtype": "float64"}, factors={"betas": [level]})


@pytest.mark.parametrize("level", [2, [1, 3]])
def test_a_whole_number_reaches_an_optimizer_whole_and_is_a_float_in_all_results(level):
    name = "sizes" if isinstance(level, list) else "k"
    study, before = (
        declare(optimizer="strange:Every", factors={name: [value]})
        for value in (level, [float(x) for x in level] if isinstance(level, list) else 2.0)
    )
    check_optimizers(study)
    built = build_optimizer([nn.Parameter()], study.arms[0], study.task, cells_of(study)[0].factors)
    assert [len(slots) for slots in built.slots] == ([2, 1, 3] if name == "sizes" else [2, 1, 2])
    assert [c.cell_id for c in cells_of(study)] == [c.cell_id for c in cells_of(before)]
    assert Study.model_validate_json(study.model_dump_json()) == study
    records = tuple(PackTraining(study, cells_of(study)))
    row = cells_table(study, records, PackRecord(records, 1.0, "cpu", "float32", "2"))
    text = row["factors"].to_pylist()[0]
    assert text.endswith("[1.0, 3.0]}" if name == "sizes" else '"k": 2.0}')
    assert set(row["outcome"].to_pylist()) == {"completed"}


def test_a_whole_number_that_a_float_cannot_tell_from_its_neighbour_is_refused():
    with pytest.raises(InputError, match=r"k must be whole numbers within ±2\*\*53"):
        declare(optimizer="strange:Every", factors={"k": [2**53 + 1]})


@pytest.mark.parametrize("name", ["value", "owner", "regret", "n_seeds", "factors", "_judged"])
def test_a_factor_named_like_a_column_of_any_table_is_refused(name):
    with pytest.raises(InputError) as caught:
        declare(optimizer="strange:TakesAll", factors={name: [1.0, 2.0]})
    rule = "must not be named like a result column; rename it"
    assert str(caught.value) == f"study 's': arm 'a': factor {name!r} {rule}"
