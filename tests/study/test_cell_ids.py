"""40 declarations keep for ever the cell_ids that commit aef8aaf gave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hdsens.study import Study
from hdsens.study.cells import expand

DECLARATIONS = json.loads(
    Path(__file__).with_name("cell_ids_of_aef8aaf.json").read_text(encoding="utf-8")
)


def test_there_are_40_declarations_that_differ():
    assert len(DECLARATIONS) == 40
    assert len({json.dumps(declared["study"]) for declared in DECLARATIONS}) == 40


@pytest.mark.parametrize("declared", DECLARATIONS, ids=range(len(DECLARATIONS)))
def test_a_declaration_keeps_its_cell_ids(declared):
    study = Study.from_dict(declared["study"], stored=True)
    assert [c.cell_id for c in expand(study, declared["train_size"])] == declared["cell_ids"]
    stored = Study.from_dict(json.loads(study.model_dump_json()), stored=True)
    assert [c.cell_id for c in expand(stored, declared["train_size"])] == declared["cell_ids"]
