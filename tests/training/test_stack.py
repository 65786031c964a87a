"""What an evaluation of a pack counts as right."""

from __future__ import annotations

import math

import pytest
import torch

from hdsens.tasks.losses import build_loss
from hdsens.training.examples import Split
from hdsens.training.fused.stack import Stack, evaluate_cells

ENTROPY = build_loss("cross_entropy", {}, torch.float32, torch.device("cpu"))
SCORES = {
    "one best": [0.0, 2.0, 1.0],
    "a tie, the target second": [2.0, 2.0, 1.0],
    "a tie, the target first": [0.0, 2.0, 2.0],
    "no number": [math.nan, math.nan, math.nan],
    "no number beside the best": [math.nan, 2.0, 1.0],
    "infinite": [0.0, math.inf, 1.0],
    "infinite twice": [math.inf, math.inf, 1.0],
}


@pytest.mark.parametrize("other", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_right_is_the_first_of_the_best_whatever_other_cells_score(scores, other):
    stack = Stack.of(torch.nn.Linear(1, 3, bias=False), 2)
    with torch.no_grad():
        stack.parameters["weight"].copy_(torch.tensor([scores, other]).unsqueeze(2))
    found = evaluate_cells(stack, Split(torch.ones(1, 1), torch.tensor([1])), ENTROPY)
    expected = [float(torch.tensor(x).argmax() == 1) for x in (scores, other)]
    assert [evaluation.accuracy for evaluation in found] == expected


def test_a_model_that_is_one_layer_gives_its_logits():
    layer, inputs = torch.nn.Linear(4, 3), torch.randn(5, 4)
    expected = layer(inputs)
    for logits in Stack.of(layer, 2)(inputs):
        torch.testing.assert_close(logits, expected)
