"""What is judged, and against which untrained model."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from cell_frames import L0, cell, frame

from hdsens.analysis import regret_table

V0 = 3.0
approx = functools.partial(pytest.approx, abs=1e-12)


def cells(initial=(V0, V0)):
    """One arm, lr 0.1 and 1, seeds 0 and 1; the validation loss is far above the training loss."""
    final = {0.1: (1.0, 1.2), 1.0: (2.5, None)}
    return frame(
        cell(
            "sgd", lr, seed, loss, train_loss=0.1, valid_loss=loss, initial_valid_loss=initial[seed]
        )
        for lr, losses in final.items()
        for seed, loss in enumerate(losses)
    )


def by_hand(initial):
    """Mean of (loss - best) / (untrained - best); what ends above untrained counts as untrained."""
    best = (1.0 + 1.2) / 2
    losses = {0.1: [1.0, 1.2], 1.0: [min(2.5, initial[0]), initial[1]]}
    return {
        lr: np.mean([(x - best) / (l0 - best) for x, l0 in zip(pair, initial, strict=True)])
        for lr, pair in losses.items()
    }


@pytest.mark.parametrize("initial", [(V0, V0), (V0, 3.4)])
def test_a_validation_loss_is_judged_against_the_untrained_validation_loss(initial):
    table = regret_table(cells(initial), metric="valid_loss")
    found = dict(zip(table["lr"], table["regret_mean"], strict=True))
    assert found == approx(by_hand(initial))
    assert not any("untrained" in note for note in table.attrs["restrictions"])


def test_cells_of_earlier_versions_fall_back_to_the_untrained_training_loss_and_say_so():
    for older in (cells((np.nan, np.nan)), cells().drop(columns="initial_valid_loss")):
        table = regret_table(older, metric="valid_loss")
        found = dict(zip(table["lr"], table["regret_mean"], strict=True))
        assert found == approx(by_hand((L0, L0)))
        assert (
            "task 'toy': 4 cells have no untrained validation loss: theirs is the untrained "
            "training loss"
        ) in table.attrs["restrictions"]


def test_a_seeds_untrained_loss_counts_for_all_of_its_cells():
    """A failed lookup of one cell, say after an import, changes nothing."""
    mixed = cells()
    mixed.loc[0, "initial_valid_loss"] = np.nan
    table = regret_table(mixed, metric="valid_loss")
    found = dict(zip(table["lr"], table["regret_mean"], strict=True))
    assert found == approx(by_hand((V0, V0)))
