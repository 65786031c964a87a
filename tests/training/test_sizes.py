"""Which size and path measured seconds mean, with the seconds given."""

from __future__ import annotations

import pytest
from test_plain import N_TRAIN, arm, study

from hdsens.study import Study
from hdsens.study.cells import expand
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.choosing.probe import Probe


@pytest.mark.parametrize(
    ("fused", "plain", "path", "size"),
    [
        ({4: 1.0, 16: 0.5}, 2.0, "fused", 16),
        ({4: 1.0, 16: 0.95}, 2.0, "fused", 4),  # a twentieth is not worth a larger pack
        ({4: 1.0, 16: 1.05}, 2.0, "fused", 4),
        ({4: 1.0, 16: 0.5}, 0.4, "plain", 20),
        ({4: 1.0}, 2.0, "fused", 4),  # 16 would not fit into memory
    ],
)
def test_the_smallest_size_that_is_about_the_best(monkeypatch, fused, plain, path, size):
    """Seconds a cell and step by the cells in a pack; of 20 cells there can be 4, 16 or 20."""
    monkeypatch.setattr(Probe, "fused_seconds", lambda self, n_cells: fused.get(n_cells))
    monkeypatch.setattr(Probe, "plain_seconds", lambda self: plain)
    declared = Study.from_dict(study([arm("SGD", [0.01 * i for i in range(20)])]))
    packs = choose_packs(declared, expand(declared, N_TRAIN), "cpu", 1, None, "auto")
    assert {pack.path for pack in packs} == {path}
    assert sum(len(pack.cells) for pack in packs) == 20
    assert len(packs) == -(-20 // size)
