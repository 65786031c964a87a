"""The plain rules of the verdict on studies whose marks can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest
from protocol_oracle import Curve, Seeds, bound, judge

RATES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
BASE = (0.9, 0.4, 0.0, 0.08, 0.7)  # losses; L0 is 1, so that they are regrets too
FLAT = (0.01, 0.01, 0.0, 0.01, 0.01)
CLAIMS = ("C1", "C2", "C3")


def seeds(
    n: int, base: tuple[float, ...] = BASE, hd: tuple[float, ...] = FLAT, zero: float | None = 0.0
) -> Seeds:
    """All seeds have these losses, but for a thousandth that goes up and down."""
    jitter = [0.001 * (-1) ** i for i in range(n)]

    def curve(losses: tuple[float | None, ...], rates: tuple[float, ...]) -> Curve:
        return {
            lr: [None if loss is None else loss + shift for shift in jitter]
            for lr, loss in zip(rates, losses, strict=True)
        }

    at_zero: Curve = {0.0: [1.0] * n}
    return Seeds(at_zero | curve(base, RATES), curve((zero, *hd), (0.0, *RATES)), [1.0] * n)


def marks(one: Seeds, pilots: Seeds) -> tuple[str, ...]:
    judged = judge(one, pilots)
    return tuple(judged[name] for name in CLAIMS)


def reasons(one: Seeds, pilots: Seeds) -> tuple[str, ...]:
    judged = judge(one, pilots)
    assert {judged[name] for name in CLAIMS if judged[f"{name} held back"]} <= {"inconclusive"}
    return tuple(judged[f"{name} held back"] for name in CLAIMS)


def test_a_bound_is_that_of_a_t_table() -> None:
    """2.5 ± 3.1824 · 1.29099 / 2."""
    assert bound([1.0, 2.0, 3.0, 4.0, np.nan]) == pytest.approx((0.4457, 4.5542), abs=1e-3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("supported", "supported", "supported")),
        ({"hd": BASE, "zero": 1.0}, ("refuted", "refuted", "supported")),
        ({"hd": (1.0,) * 5, "zero": None}, ("refuted", "refuted", "refuted")),
        ({"hd": (0.01, 0.01, 0.0, 0.08, 0.7)}, ("partly supported", "supported", "supported")),
        ({"hd": (0.01, 0.01, 0.0, 0.15, 0.01)}, ("supported", "supported", "refuted")),
        ({"hd": (0.1,) * 5, "zero": 0.1}, ("refuted", "refuted", "refuted")),
    ],
)
def test_marks(given: dict[str, tuple[float, ...]], expected: tuple[str, ...]) -> None:
    """In the last a flat arm is less sensitive, and gives up 0.1 at the best lr."""
    assert marks(seeds(10, **given), seeds(3, **given)) == expected


def test_nine_seeds_cannot_show_that_zero_works() -> None:
    assert marks(seeds(9), seeds(3)) == ("supported", "inconclusive", "supported")


@pytest.mark.parametrize(("stuck", "mark"), [(1, "inconclusive"), (3, "refuted")])
def test_seeds_that_learn_nothing_at_zero_count_as_diverged(stuck: int, mark: str) -> None:
    """Of 3 in 10 the one-sided bound is 0.087, of 1 in 10 it is 0.005."""
    one = seeds(10, zero=0.9)  # the others are as good as tuned but for these
    one.hd[0.0] = [1.0] * stuck + [0.0] * (10 - stuck)
    assert marks(one, seeds(3))[1] == mark


def test_a_wrong_choice_of_the_pilots_supports_nothing() -> None:
    """They take 0.01, where the base has 0.4, for its best lr; HD gives up 0.1 at the true one."""
    pilots = seeds(3, base=(0.9, 0.0, 0.4, 0.9, 0.9))
    one = seeds(10, hd=(0.1,) * 5, zero=0.1)
    assert "supported" not in marks(one, pilots)


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ((0.9, 0.7, 0.4, 0.1, 0.0), "edge"),
        ((0.0, 0.1, 0.4, 0.7, 0.9), "edge"),
        ((0.9, 0.4, 0.0, 0.3, 0.7), "steps over"),
    ],
)
def test_a_grid_that_does_not_show_the_best_level_leaves_all_open(
    base: tuple[float, ...], reason: str
) -> None:
    assert reasons(seeds(10, base=base), seeds(3, base=base)) == (reason,) * 3


def test_where_nothing_learns_all_is_open() -> None:
    nothing = {"base": (1.0,) * 5, "hd": (1.0,) * 5, "zero": 1.0}
    assert reasons(seeds(10, **nothing), seeds(3, **nothing)) == ("nothing was learnt",) * 3


def test_a_missing_cell_leaves_open_what_rests_on_it() -> None:
    one = seeds(10)
    one.hd[0.0][4] = np.nan
    assert reasons(one, seeds(3)) == ("missing", "missing", "")
    pilots = seeds(3)
    pilots.base[1.0][0] = np.nan
    assert reasons(seeds(10), pilots) == ("missing",) * 3
