"""Simulated studies with known truth: do intervals cover, do verdicts err as rarely as they say?

    python -m benchmarks.calibration > docs/calibration.md      # half a minute
    python -m benchmarks.calibration --studies 10000 --seed 1

A study is a base arm and an HD arm over lr = 0 and 13 half-decades, with pilot seeds. Its mean
regret at each level is given; noise comes on top, in part shared by both arms (common random
numbers). Everything is decided by `hdsens.analysis.claims`, thousands of studies at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.claims import (
    Decision,
    Margins,
    less_sensitive,
    never_worse,
    not_harder_to_tune,
    zero_works,
)
from hdsens.analysis.intervals import Floats, clopper_pearson, mean_interval, median_interval
from hdsens.analysis.regret import normalised_regret
from hdsens.analysis.tunability import expected_best

L0, BEST = 2.3, 0.3
N_LEVELS, N_PILOT = 13, 3
DRAWS = np.array([1, 2, 4, 8])
MARGINS = Margins()

# Regret of a plain optimizer over half-decades of lr from 1e-6 to 1: too small, right, too large.
BASE = np.array([1, 1, 1, 0.99, 0.97, 0.9, 0.7, 0.4, 0.12, 0.02, 0.0, 0.1, 0.8])
ROBUST = np.array([0.03, 0.03, 0.03, 0.03, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01, 0.0, 0.05, 0.3])

HEAD = """# Calibration of intervals and verdicts

`python -m benchmarks.calibration --studies {studies} --seed {seed}` printed this page (numpy
{numpy}): {studies} simulated studies a row, so a rate near 0.05 is known to ±0.007. What the rows
are is in `benchmarks/calibration.py`; what they teach is in [measures.md](measures.md). In the
verdict tables + is the share supported, − the share refuted; the rest is inconclusive."""

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
        base, hd: (n_levels,) mean regret at the nonzero levels; `zero`: of HD at lr = 0.
        hd_diverges: (n_levels,) chance that an HD cell diverges; `base_diverges` likewise.
        zero_diverges: the same for HD at lr = 0.
        spread: standard deviation of a cell's own noise; `shared`: of the seed's, in both arms.
        noise: name of its distribution.
        exact_pilot: pilot seeds without noise, so that the best lr and L* are the true ones.
    """

    base: Floats
    hd: Floats
    zero: float = 0.01
    hd_diverges: Floats | float = 0.0
    base_diverges: Floats | float = 0.0
    zero_diverges: float = 0.0
    spread: float = 0.01
    shared: float = 0.01
    noise: str = "normal"
    exact_pilot: bool = False


@dataclass(frozen=True)
class Studies:
    """Simulated losses; arrays (n_studies, 2 arms, 1 + n_levels, n_seeds), lr = 0 first."""

    loss: Floats
    diverged: np.ndarray[Any, np.dtype[np.bool_]]


def simulate(truth: Truth, n_studies: int, n_seeds: int, rng: np.random.Generator) -> Studies:
    """Draw the cells of many studies; a diverged cell has the untrained loss."""
    mean = np.stack([np.r_[1.0, truth.base], np.r_[truth.zero, truth.hd]])
    chance = np.zeros((2, mean.shape[1]))
    chance[0, 1:], chance[1, 1:], chance[1, 0] = (
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


def decide(studies: Studies, pilot: Studies) -> dict[str, Decision]:
    """Decide C1 to C4 for every study, as `verdict` does for a frame with one hypergrad_lr."""
    pilot_mean = pilot.loss.mean(axis=-1)  # (n_studies, 2, n_levels)
    best_loss = pilot_mean.min(axis=(1, 2))[:, None, None, None]
    regret = normalised_regret(studies.loss, best_loss, L0)
    pilot_regret = normalised_regret(pilot.loss, best_loss, L0)
    base, hd = regret[:, 0, 1:], regret[:, 1, 1:]
    chosen = pilot_mean[:, :, 1:].argmin(axis=-1)
    base_best, hd_best = (
        np.take_along_axis(r, chosen[:, i, None, None], axis=1)[:, 0]
        for i, r in enumerate((base, hd))
    )
    works = ~pilot.diverged[:, 0, 1:].any(axis=-1) & (pilot_regret[:, 0, 1:].mean(axis=-1) <= 0.5)
    best = [expected_best(r.swapaxes(1, 2), DRAWS).swapaxes(1, 2) for r in (base, hd)]
    return {
        "C1": less_sensitive(base, hd, hd_best - base_best, MARGINS),
        "C2": zero_works(regret[:, 1, 0], base_best, studies.diverged[:, 1, 0] * 1.0, MARGINS),
        "C3": never_worse(base, hd, works, MARGINS),
        "C4": not_harder_to_tune(*best, MARGINS),
    }


def rates(truth: Truth, n_studies: int, n_seeds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Share of studies in which each part, and all together, are supported or refuted."""
    studies = simulate(truth, n_studies, n_seeds, rng)
    quiet = replace(truth, spread=0.0, shared=0.0) if truth.exact_pilot else truth
    decisions = decide(studies, simulate(quiet, n_studies, N_PILOT, rng))
    row: dict[str, Any] = {}
    for name, decision in decisions.items():
        row[f"{name} +"], row[f"{name} −"] = decision.supported.mean(), decision.refuted.mean()
    row["all +"] = np.all([d.supported for d in decisions.values()], axis=0).mean()
    return row


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
    "fails everywhere": Truth(
        BASE, np.ones(N_LEVELS), zero=1.0, hd_diverges=1.0, zero_diverges=1.0
    ),
    "both fail everywhere": Truth(
        np.ones(N_LEVELS),
        np.ones(N_LEVELS),
        1.0,
        hd_diverges=1.0,
        base_diverges=1.0,
        zero_diverges=1.0,
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
        "Power": power(given.studies, rng),
    }.items():
        print(f"\n## {title}\n\n{markdown(table)}")


if __name__ == "__main__":
    main()
