"""An optimizer joins the packs with two files: its row of facts, and its rule in `rules/`."""

from __future__ import annotations

import pytest
import torch

from hdsens.study import Arm, Task
from hdsens.study import optimizers as facts
from hdsens.training.fused import rules
from hdsens.training.fused.fusable import obstacle, optimizer_of, rule_of

ROW = facts.OptimizerFacts(
    "RMSprop",
    update_rule="RMSprop",
    defaults={"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False, "maximize": False},
)
RULE = """
import torch
from hdsens.training.fused.update_rules import UpdateRule

class RMSpropRule(UpdateRule):
    per_cell = frozenset({"alpha", "eps"})
    fixed = {"momentum": 0, "centered": False}
    normalises = True

    def __init__(self, settings, clips, parameters):
        super().__init__(settings, clips, parameters)
        self.alpha = self._column([s["alpha"] for s in settings])
        self.eps = self._column([s["eps"] for s in settings])
        self.squares = [torch.zeros_like(p) for p in self.parameters]

    def _advance(self, g):
        for x, square in zip(g, self.squares, strict=True):
            square.mul_(self.alpha).add_((1 - self.alpha) * x.square())
            x.div_(square.sqrt() + self.eps)
        return g, 1.0

    def _last_scale(self):
        return 1.0

    def _states(self):
        return ("squares",)

    def _vectors(self):
        return (*super()._vectors(), "alpha", "eps")

RULE = RMSpropRule
"""


@pytest.fixture
def rmsprop(tmp_path, monkeypatch):
    """RMSprop with a rule of its own, for the time of a test."""
    (tmp_path / "rmsprop.py").write_text(RULE)
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    monkeypatch.setitem(facts._TABLE, "RMSprop", ROW)
    rules._rule.cache_clear()
    yield
    rules._rule.cache_clear()


def test_a_row_and_a_rule_are_all_that_a_pack_of_it_needs(rmsprop):
    """Two cells in a pack take the steps that torch's optimizer takes with each alone."""
    task = Task(model="logreg", steps=1, weight_decay=0.1)
    arms = [
        Arm(name="a", optimizer="RMSprop", lr=0.1),
        Arm(name="b", optimizer="torch.optim:RMSprop", lr=0.01, settings={"alpha": 0.5}),
    ]
    assert [obstacle(arm, task, {"lr": arm.lr[0]}) for arm in arms] == [None, None]
    start = torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=torch.float64)
    settings = [optimizer_of(arm, task, {"lr": arm.lr[0]}).param_groups[0] for arm in arms]
    pack = [start.clone()]
    rule = rule_of(arms[0], task, {"lr": 0.1})(settings, [0.0, 0.0], pack)
    for _ in range(3):
        rule.step([2 * pack[0]])
    for row, group in enumerate(settings):
        alone = torch.nn.Parameter(start[row].clone())
        optimizer = torch.optim.RMSprop([{**group, "params": [alone]}])
        for _ in range(3):
            alone.grad = 2 * alone.detach()
            optimizer.step()
        torch.testing.assert_close(pack[0][row], alone.detach(), rtol=1e-12, atol=1e-12)


def test_an_argument_that_a_rule_does_not_know_keeps_a_cell_out(rmsprop):
    task = Task(model="logreg", steps=1)
    arm = Arm(name="a", optimizer="RMSprop", lr=0.1, settings={"centered": True})
    assert obstacle(arm, task, {"lr": 0.1}) == "centered = True has no fused form"
