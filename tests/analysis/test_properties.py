"""What must hold for every study, whatever its numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from cell_frames import L0, cell, frame, hd_cell
from hypothesis import given, settings
from hypothesis import strategies as st
from verdict_studies import PROTOCOL as FROZEN
from verdict_studies import RATES as BASE_RATES
from verdict_studies import REFUTED

from hdsens.analysis import (
    importance,
    regret_table,
    sensitivity_table,
    steps_to_target_table,
    tunability_curve,
    verdict,
)
from hdsens.analysis.measures.intervals import clopper_pearson, holm, mean_interval
from hdsens.analysis.measures.tunability import expected_best

RATES = (0.0, 1e-3, 1e-2, 1e-1)
SEEDS = (0, 1, 2, 7)
PILOTS = (50, 51)
PROTOCOL = {"pilot_seeds": list(PILOTS), "primary": {"sgd_hd": {"hypergrad_lr": 1e-3}}}
quick = settings(max_examples=8, deadline=None)

losses = st.one_of(st.none(), st.floats(0.05, 2.5).map(lambda x: round(x, 4)))


@st.composite
def studies(draw: st.DrawFn) -> pd.DataFrame:
    """Base and HD at two betas; a loss above L0 = 2 and a diverged cell both occur."""
    rows = []
    for seed in (*SEEDS, *PILOTS):
        role = {"role": "pilot" if seed in PILOTS else "confirmatory"}
        for lr in RATES:
            base = L0 if lr == 0 else draw(losses)
            rows.append(cell("sgd", lr, seed, base, steps_to_x=draw(st.integers(1, 100)), **role))
            for beta in (1e-3, 1e-2):
                reached = draw(st.one_of(st.just(np.nan), st.integers(1, 100)))
                rows.append(hd_cell(lr, seed, draw(losses), beta, steps_to_x=reached, **role))
    return frame(rows)


def tables(cells: pd.DataFrame) -> list[pd.DataFrame]:
    result = verdict(cells, PROTOCOL)
    return [
        regret_table(cells),
        sensitivity_table(cells),
        tunability_curve(cells, rng=np.random.default_rng(0)),
        importance(cells),
        steps_to_target_table(cells),
        result.parts,
        result.levels,
        result.window,
        result.joint,
    ]


def assert_same(one: list[pd.DataFrame], other: list[pd.DataFrame], ignore: str = "") -> None:
    for a, b in zip(one, other, strict=True):
        kept = [c for c in a.columns if not (ignore and str(c).startswith(tuple(ignore.split())))]
        pd.testing.assert_frame_equal(a[kept], b[kept], check_exact=False, rtol=1e-7, atol=1e-9)


@quick
@given(studies(), st.integers(0, 2**32 - 1))
def test_row_order_does_not_matter(cells: pd.DataFrame, seed: int) -> None:
    assert_same(tables(cells), tables(cells.sample(frac=1, random_state=seed)))


@quick
@given(studies(), st.permutations(SEEDS))
def test_seed_labels_do_not_matter(cells: pd.DataFrame, labels: list[int]) -> None:
    """Except to the bootstrap's draws, which go by the order of the seeds."""
    renamed = cells.assign(seed=cells["seed"].replace(dict(zip(SEEDS, labels, strict=True))))
    assert_same(tables(cells), tables(renamed), ignore="best_ decided_by")


@quick
@given(studies(), st.floats(1e-3, 1e3))
def test_units_of_loss_do_not_matter(cells: pd.DataFrame, unit: float) -> None:
    """Bits or nats: every score but those named in the metric's units is the same."""
    scaled = cells.assign(
        train_loss=cells["train_loss"] * unit, initial_loss=cells["initial_loss"] * unit
    )
    in_units = "loss_mean reference_loss lr_sensitivity excess_loss"
    assert_same(tables(cells), tables(scaled), ignore=in_units)


@quick
@given(studies())
def test_names_of_arms_do_not_matter(cells: pd.DataFrame) -> None:
    """The baseline now sorts after the arm that names it."""
    names = {"sgd": "z", "sgd_hd": "a"}
    renamed = cells.assign(arm=cells["arm"].map(names), baseline=cells["baseline"].map(names))
    protocol = PROTOCOL | {"primary": {"a": {"hypergrad_lr": 1e-3}}}
    before, after = verdict(cells, PROTOCOL).parts, verdict(renamed, protocol).parts
    named = ["arm", "baseline", "quantity", "decided_by", "held_back"]
    pd.testing.assert_frame_equal(before.drop(columns=named), after.drop(columns=named))
    keys = ["lr", "hypergrad_lr"]
    mine = regret_table(cells).query("arm == 'sgd_hd'").set_index(keys)["regret_mean"]
    theirs = regret_table(renamed).query("arm == 'a'").set_index(keys)["regret_mean"]
    pd.testing.assert_series_equal(mine, theirs)


@quick
@given(studies(), st.data())
def test_a_cell_that_diverges_never_improves_a_score(
    cells: pd.DataFrame, data: st.DataObject
) -> None:
    """The pilot seeds choose what it is compared with, so its own failure cannot."""
    hd = cells[(cells["arm"] == "sgd_hd") & (cells["role"] == "confirmatory")]
    row = data.draw(st.sampled_from(list(hd.index)))
    worse = cells.copy()
    worse.loc[row, ["outcome", "train_loss", "steps_to_x"]] = ["diverged", np.nan, np.nan]
    for before, after, scores in zip(tables(cells), tables(worse), SCORES, strict=False):
        for name, sign in scores.items():
            change = sign * (after[name] - before[name]).to_numpy(dtype=float)
            assert np.nanmax(change, initial=-np.inf) <= 1e-12, name
    assert_not_better(verdict(cells, PROTOCOL).parts, verdict(worse, PROTOCOL).parts)


SCORES = (  # +1: higher is better, so it must not rise; -1: higher is worse
    dict.fromkeys(("regret_mean", "regret_median", "regret_worst", "regret_cvar", "loss_mean"), -1)
    | {"divergence_rate": -1, "within_5pct": 1, "decades_within_5pct": 1},
    dict.fromkeys(("regret_mean", "regret_zero", "regret_worst", "gap_at_best"), -1)
    | {"lr_sensitivity": -1, "excess_loss": -1, "divergence_rate": -1, "decades_within_5pct": 1},
    {"best": -1, "difference": -1, "cpe": -1},
    {},
    {"reached": 1, "median_steps": -1},
)


pilot_cells = st.tuples(
    st.sampled_from(["sgd", "sgd_hd"]),
    st.sampled_from([0.0, *BASE_RATES]),
    st.sampled_from(FROZEN["pilot_seeds"]),
)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(REFUTED)), st.lists(pilot_cells, min_size=1, max_size=20))
def test_pilot_cells_that_diverge_never_turn_refuted_into_supported(
    part: str, lost: list[tuple[str, float, int]]
) -> None:
    """Any set of them, at any levels: they raise L*, move the best lr and take levels out of C3."""
    cells = REFUTED[part].cells()
    at = pd.MultiIndex.from_frame(cells[["arm", "lr", "seed"]]).isin(lost)
    cells.loc[at, ["outcome", "train_loss"]] = ["diverged", np.nan]
    table = verdict(cells, FROZEN).parts.set_index("part")
    assert table.loc[part, "verdict"] != "supported", table.loc[part].to_dict()


def assert_not_better(before: pd.DataFrame, after: pd.DataFrame) -> None:
    """Estimates that decide do not fall; bounds may, where a failure makes seeds agree."""
    for part in ("C1", "C2"):
        a, b = (t[t["part"] == part]["effect"].to_numpy(dtype=float) for t in (before, after))
        assert np.nanmax(a - b, initial=-np.inf) <= 1e-12


@quick
@given(studies())
def test_one_more_level_that_fails_never_lowers_regret(cells: pd.DataFrame) -> None:
    more = [cell("sgd", 1.0, s, None, steps_to_x=np.nan) for s in SEEDS]
    more += [cell("sgd", 1.0, s, None, role="pilot", steps_to_x=np.nan) for s in PILOTS]
    wider = pd.concat([cells, frame(more)], ignore_index=True)
    before, after = (sensitivity_table(c).query("arm == 'sgd'").iloc[0] for c in (cells, wider))
    assert after["regret_mean"] >= before["regret_mean"] - 1e-12
    assert after["excess_loss"] >= before["excess_loss"] - 1e-12


finite = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


@given(finite)
def test_more_draws_are_never_worse(values: list[float]) -> None:
    best = expected_best(values, np.arange(1, len(values) + 1))
    assert (np.diff(best) <= 1e-9 * (1 + np.abs(values).max())).all()


@given(finite, st.floats(0.01, 1e3), st.floats(-1e3, 1e3))
def test_intervals_move_with_the_data(values: list[float], scale: float, shift: float) -> None:
    one, other = mean_interval(values), mean_interval(np.array(values) * scale + shift)
    for a, b in zip(one[:3], other[:3], strict=True):
        np.testing.assert_allclose(a * scale + shift, b, rtol=1e-6, atol=1e-6 * scale * 1e3 + 1e-6)
    assert one.lower <= one.estimate <= one.upper


@given(st.integers(1, 40), st.data())
def test_clopper_pearson_holds_its_share_and_rises_with_the_count(
    n: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, n))
    lower, upper = clopper_pearson(count, n)
    assert 0 <= lower <= count / n <= upper <= 1
    if count < n:
        assert clopper_pearson(count + 1, n)[0] >= lower


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises_and_keeps_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
