"""Simulated studies with known truth: do intervals cover, do verdicts err as rarely as they say?

    python -m benchmarks.calibration > docs/calibration.md      # half a minute
    python -m benchmarks.calibration --studies 10000 --seed 1

A study is a base arm and an HD arm over lr = 0 and 13 half-decades, with pilot seeds; the HD arm
has one hypergrad_lr, or a ladder of them. Its mean regret at each level is given; noise comes on
top, in part shared by all arms (common random numbers). Everything is decided by
`hdsens.analysis.claims`, thousands of studies at once. What `verdict` holds back on top (a gap
among the pilot seeds, a cell without a result) only makes "supported" rarer than it is here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.claims import (
    ALPHA,
    Decision,
    Margins,
    less_sensitive,
    never_worse,
    not_harder_to_tune,
    zero_works,
)
from hdsens.analysis.intervals import (
    Floats,
    clopper_pearson,
    holm,
    mean_interval,
    median_interval,
)
from hdsens.analysis.regret import normalised_regret
from hdsens.analysis.tunability import equal_pools, expected_best

L0, BEST = 2.3, 0.3
N_LEVELS, N_PILOT = 13, 3
DRAWS = np.arange(1, 9)
MARGINS = Margins()

# Regret of a plain optimizer over half-decades of lr from 1e-6 to 1: too small, right, too large.
BASE = np.array([1, 1, 1, 0.99, 0.97, 0.9, 0.7, 0.4, 0.12, 0.02, 0.0, 0.1, 0.8])
ROBUST = np.array([0.03, 0.03, 0.03, 0.03, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01, 0.0, 0.05, 0.3])
FAILS = np.ones(N_LEVELS)

HEAD = """# Calibration of intervals and verdicts

`python -m benchmarks.calibration --studies {studies} --seed {seed}` printed this page (numpy
{numpy}): {studies} simulated studies a row, so a rate near 0.05 is known to ±0.007. What the rows
are is in `benchmarks/calibration.py`; what they teach is in [measures.md](measures.md). In the
verdict tables + is the share supported, − the share refuted; the rest is inconclusive. In the
ladder table "joint" is the verdict on all four parts at the middle β, "ladder −" the share "refuted
on this ladder", "window" the mean number of β's where C1 to C3 are supported together, "true
window" how many there are, "too wide" the share of studies that find more."""

Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]
NOISE: Mapping[str, Noise] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t3": lambda rng, shape: rng.standard_t(3, size=shape) / np.sqrt(3),
    "skewed (lognormal)": lambda rng, shape: (
        (rng.lognormal(size=shape) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)
    ),
    "one in ten diverges": lambda rng, shape: (
        ((rng.random(shape) < 0.1) - 0.1) / 0.3 + 0.01 * rng.normal(size=shape)
    ),
}


@dataclass(frozen=True)
class Truth:
    """Mean regret by level, and how cells scatter around it.

    Attributes:
        base: (n_levels,) mean regret at the nonzero levels; `hd`: likewise, or (n_betas, n_levels)
            of a ladder; `zero`: of HD at lr = 0, or (n_betas,).
        hd_diverges: (n_levels,) chance that an HD cell diverges; `base_diverges` likewise.
        zero_diverges: the same for HD at lr = 0.
        spread: standard deviation of a cell's own noise; `shared`: of the seed's, in both arms.
        noise: name of its distribution.
        exact_pilot: pilot seeds without noise, so that the best lr and L* are the true ones.
    """

    base: Floats
    hd: Floats
    zero: Floats | float = 0.01
    hd_diverges: Floats | float = 0.0
    base_diverges: Floats | float = 0.0
    zero_diverges: float = 0.0
    spread: float = 0.01
    shared: float = 0.01
    noise: str = "normal"
    exact_pilot: bool = False


@dataclass(frozen=True)
class Studies:
    """Simulated losses; arrays (n_studies, 1 + n_betas, 1 + n_levels, n_seeds).

    The base comes first of the arms, lr = 0 first of the levels.
    """

    loss: Floats
    diverged: np.ndarray[Any, np.dtype[np.bool_]]


def simulate(truth: Truth, n_studies: int, n_seeds: int, rng: np.random.Generator) -> Studies:
    """Draw the cells of many studies; a diverged cell has the untrained loss."""
    hd = np.atleast_2d(truth.hd)
    zero = np.broadcast_to(truth.zero, len(hd))
    mean = np.vstack([np.r_[1.0, truth.base], np.column_stack([zero, hd])])
    chance = np.zeros(mean.shape)
    chance[0, 1:], chance[1:, 1:], chance[1:, 0] = (
        truth.base_diverges,
        truth.hd_diverges,
        truth.zero_diverges,
    )
    shape = (n_studies, *mean.shape, n_seeds)
    draw = NOISE[truth.noise]
    noise = truth.spread * draw(rng, shape) + truth.shared * draw(rng, (n_studies, 1, 1, n_seeds))
    noise[:, 0, 0] = 0.0  # the base does not move at lr = 0
    diverged = rng.random(shape) < chance[..., None]
    regret = np.where(diverged, 1.0, np.minimum(mean[..., None] + noise, 1.0))
    return Studies(BEST + (L0 - BEST) * regret, diverged)


def decide(studies: Studies, pilot: Studies) -> list[dict[str, Decision]]:
    """Decide C1 to C4 at each hypergrad_lr for every study, as `verdict` does for a frame.

    C4 is about the whole arm: the same decision at each.
    """
    pilot_mean = pilot.loss.mean(axis=-1)  # (n_studies, 1 + n_betas, 1 + n_levels)
    best_loss = pilot_mean.min(axis=(1, 2))[:, None, None, None]
    regret = normalised_regret(studies.loss, best_loss, L0)
    pilot_regret = normalised_regret(pilot.loss, best_loss, L0)
    works = ~pilot.diverged[:, 0, 1:].any(axis=-1) & (pilot_regret[:, 0, 1:].mean(axis=-1) <= 0.5)
    chosen = pilot_mean[:, :, 1:].argmin(axis=-1)
    at_best = np.take_along_axis(regret[:, :, 1:], chosen[..., None, None], axis=2)[:, :, 0]
    base, base_best = regret[:, 0, 1:], at_best[:, 0]
    grids = (base, regret[:, 1:, 1:].reshape(len(regret), -1, regret.shape[-1]))
    pools = equal_pools(*(r.swapaxes(1, 2) for r in grids))
    best = [expected_best(pool, DRAWS).swapaxes(1, 2) for pool in pools]
    tuning = not_harder_to_tune(*best, MARGINS)
    return [
        {
            "C1": less_sensitive(base, hd[:, 1:], gap, MARGINS),
            "C2": zero_works(hd[:, 0], base_best, 1.0 * diverged, MARGINS),
            "C3": never_worse(base, hd[:, 1:], works, MARGINS),
            "C4": tuning,
        }
        for hd, gap, diverged in zip(
            np.moveaxis(regret[:, 1:], 1, 0),
            np.moveaxis(at_best[:, 1:], 1, 0) - base_best,
            np.moveaxis(studies.diverged[:, 1:, 0], 1, 0),
            strict=True,
        )
    ]


def joint(decisions: Sequence[dict[str, Decision]], primary: int) -> dict[str, Any]:
    """Decide for every study as `verdict` does over parts: at the primary β, and on the ladder.

    "+": all four parts at the primary; "−": some part refuted there, Holm over parts; "ladder −":
    one of C1 to C3 refuted at every β, Holm over the three; "window": β's where C1 to C3 hold.
    """

    def refuted(parts: Sequence[Decision]) -> Any:
        smallest = [np.nanmin(np.nan_to_num(holm(d.p_refuted), nan=1.0), axis=-1) for d in parts]
        return (holm(np.stack(smallest, axis=-1)) <= ALPHA).any(axis=-1)

    def supported(parts: Sequence[Decision]) -> Any:
        return np.all([d.supported for d in parts], axis=0)

    tested = list(decisions[primary].values())
    without_tuning = [[d[part] for part in ("C1", "C2", "C3")] for d in decisions]
    return {
        "joint +": supported(tested),
        "joint −": refuted(tested),
        "ladder −": np.all([refuted(parts) for parts in without_tuning], axis=0),
        "window": np.sum([supported(parts) for parts in without_tuning], axis=0),
    }


def rates(truth: Truth, n_studies: int, n_seeds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Share of studies in which each part, and all together, are supported or refuted."""
    decisions = _simulated(truth, n_studies, n_seeds, rng)[0]
    row: dict[str, Any] = {}
    for name, decision in decisions.items():
        row[f"{name} +"], row[f"{name} −"] = decision.supported.mean(), decision.refuted.mean()
    row["all +"] = np.all([d.supported for d in decisions.values()], axis=0).mean()
    return row


def _simulated(
    truth: Truth, n_studies: int, n_seeds: int, rng: np.random.Generator
) -> list[dict[str, Decision]]:
    studies = simulate(truth, n_studies, n_seeds, rng)
    quiet = replace(truth, spread=0.0, shared=0.0) if truth.exact_pilot else truth
    return decide(studies, simulate(quiet, n_studies, N_PILOT, rng))


def ladder_rates(
    truth: Truth, true_window: int, n_studies: int, n_seeds: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Rates of the joint verdict at the middle β, on the ladder, and the window in levels of β."""
    decisions = _simulated(truth, n_studies, n_seeds, rng)
    tuning = decisions[0]["C4"]
    found = joint(decisions, len(decisions) // 2)
    found["too wide"] = found["window"] > true_window
    rates_of = {"C4 +": tuning.supported, "C4 −": tuning.refuted, **found}
    return {name: found.mean() for name, found in rates_of.items()}


def at(level: int, value: float) -> Floats:
    """Return zeros with one value."""
    return np.where(np.arange(N_LEVELS) == level, value, 0.0)


# A boundary row sits exactly where a rule changes its mind: its error rates are the largest. Regret
# stays clear of 1, where the cap would move the mean of noisy cells.
LOW = np.minimum(BASE, 0.9)
BOUNDARY = Truth(LOW, LOW, exact_pilot=True)
SCENARIOS: Mapping[str, Truth] = {
    "same distribution": Truth(BASE, BASE, zero=1.0),
    "robust": Truth(BASE, ROBUST),
    "fails everywhere": Truth(BASE, FAILS, zero=1.0, hd_diverges=1.0, zero_diverges=1.0),
    "both fail everywhere": Truth(
        FAILS, FAILS, 1.0, hd_diverges=1.0, base_diverges=1.0, zero_diverges=1.0
    ),
    "robust, one bad level": Truth(BASE, ROBUST + at(10, 0.1)),
    "robust, both diverge at 1": Truth(
        BASE, ROBUST, hd_diverges=at(12, 1.0), base_diverges=at(12, 1.0)
    ),
    "robust, 1 in 10 diverges at the best lr": Truth(BASE, ROBUST, hd_diverges=at(10, 0.1)),
    "robust, 1 in 5 diverges at lr = 0": Truth(BASE, ROBUST, zero_diverges=0.2),
    "boundary of C1": replace(BOUNDARY, hd=LOW / 2),
    "boundary of C1, noisy pilot": replace(BOUNDARY, hd=LOW / 2, exact_pilot=False),
    "R_HD is 0.48 of R_base, noisy pilot": replace(BOUNDARY, hd=LOW * 0.48, exact_pilot=False),
    "R_HD is 0.52 of R_base, noisy pilot": replace(BOUNDARY, hd=LOW * 0.52, exact_pilot=False),
    "boundary of C2": replace(BOUNDARY, zero=0.02),
    "boundary of C3, all levels": replace(BOUNDARY, hd=LOW + 0.02),
    "boundary of C3, one level": replace(BOUNDARY, hd=LOW + at(9, 0.02)),
    "boundary of C4": replace(BOUNDARY, hd=LOW + 0.01),
}


def verdict_rates(n_studies: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rates of every scenario at n = 10 and 20 seeds, for normal, t3 and skewed noise."""
    rows = [
        {
            "study": name,
            "noise": noise,
            "n": n,
            **rates(replace(truth, noise=noise), n_studies, n, rng),
        }
        for name, truth in SCENARIOS.items()
        for noise in ("normal", "t3", "skewed (lognormal)")
        for n in (10, 20)
    ]
    return pd.DataFrame(rows)


# Three β's, the middle one primary, and at how many of them C1 to C3 are true.
LADDERS: Mapping[str, tuple[Truth, int]] = {
    "robust at all three": (Truth(BASE, np.stack([ROBUST] * 3)), 3),
    "robust at the primary alone": (
        Truth(BASE, np.stack([BASE, ROBUST, FAILS]), zero=np.array([1.0, 0.01, 1.0])),
        1,
    ),
    "robust beside the primary": (
        Truth(BASE, np.stack([ROBUST, BASE, ROBUST]), zero=np.array([0.01, 1.0, 0.01])),
        2,
    ),
    "as the base at all three": (Truth(BASE, np.stack([BASE] * 3), zero=1.0), 0),
    "fails at all three": (
        Truth(BASE, np.stack([FAILS] * 3), zero=1.0, hd_diverges=1.0, zero_diverges=1.0),
        0,
    ),
    "boundary of C1 at all three": (replace(BOUNDARY, hd=np.stack([LOW / 2] * 3)), 0),
    "boundary of C2 at all three": (
        replace(BOUNDARY, hd=np.stack([np.minimum(ROBUST, LOW)] * 3), zero=0.02),
        0,
    ),
    "boundary of C3 at all three": (
        replace(BOUNDARY, hd=np.stack([np.minimum(ROBUST, LOW) + at(9, 0.03)] * 3)),
        0,
    ),
    "boundary of C4": (replace(BOUNDARY, hd=np.stack([LOW + 0.01] * 3)), 0),
}


def ladder(n_studies: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rates of the joint verdict and the window on ladders of three β's."""
    rows = [
        {
            "study": name,
            "noise": noise,
            "n": n,
            "true window": true_window,
            **ladder_rates(replace(truth, noise=noise), true_window, n_studies, n, rng),
        }
        for name, (truth, true_window) in LADDERS.items()
        for noise in ("normal", "t3")
        for n in (10, 20)
    ]
    return pd.DataFrame(rows)


def power(n_studies: int, rng: np.random.Generator) -> pd.DataFrame:
    """Chance to find a known effect, by seeds and by the spread of one cell's regret."""
    truths = {
        "R_HD is 0.4 of R_base": Truth(BASE, BASE * 0.4),
        "R_HD is 0.6 of R_base": Truth(BASE, BASE * 0.6),
        "robust": SCENARIOS["robust"],
        "worse by 0.05 at one level": Truth(BASE, ROBUST + at(8, 0.16)),
    }
    rows = [
        {"effect": name, "spread": spread, "n": n}
        | rates(replace(truth, spread=spread, shared=spread), n_studies, n, rng)
        for name, truth in truths.items()
        for spread in (0.01, 0.02)
        for n in (10, 20, 30)
    ]
    return pd.DataFrame(rows)


def coverage(n_studies: int, rng: np.random.Generator) -> pd.DataFrame:
    """Share of 95% intervals that hold the truth, by noise and number of seeds."""
    rows = []
    for noise, draw in NOISE.items():
        centre = float(np.median(draw(rng, (1_000_000,))))
        for n in (5, 10, 20, 30):
            x = draw(rng, (n_studies, n))
            mean, median = mean_interval(x), median_interval(x)
            rows.append(
                {
                    "noise": noise,
                    "n": n,
                    "mean (t)": _share_inside(mean.lower, 0.0, mean.upper),
                    "median (order statistics)": _share_inside(median.lower, centre, median.upper),
                }
            )
    return pd.DataFrame(rows)


def share_coverage(n_studies: int, rng: np.random.Generator) -> pd.DataFrame:
    """Share of Clopper-Pearson intervals that hold the true share; they never cover too little."""
    rows = []
    for n in (10, 20, 30):
        for p in (0.02, 0.1, 0.3, 0.5):
            lower, upper = clopper_pearson(rng.binomial(n, p, n_studies), n)
            rows.append({"true share": p, "n": n, "covered": _share_inside(lower, p, upper)})
    return pd.DataFrame(rows)


def _share_inside(lower: Floats, truth: float, upper: Floats) -> float:
    if np.isnan(lower).all():
        return float("nan")
    return float(((lower <= truth) & (truth <= upper)).mean())


def markdown(table: pd.DataFrame) -> str:
    """Write a table as Markdown, numbers with three decimals, what is not there as a dash."""
    cells = [[_text(value) for value in row] for row in table.itertuples(index=False)]
    lines = [[*map(str, table.columns)], ["---"] * table.shape[1], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:.3f}"
    return str(value)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--studies", type=int, default=4000, metavar="N", help="simulated studies a row"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    print(HEAD.format(studies=given.studies, seed=given.seed, numpy=np.__version__))
    for title, table in {
        "Coverage of 95% intervals": coverage(given.studies, rng),
        "Coverage of Clopper-Pearson intervals": share_coverage(given.studies, rng),
        "Verdicts": verdict_rates(given.studies, rng),
        "Ladders of three hypergrad_lr": ladder(given.studies, rng),
        "Power": power(given.studies, rng),
    }.items():
        print(f"\n## {title}\n\n{markdown(table)}")


if __name__ == "__main__":
    main()
