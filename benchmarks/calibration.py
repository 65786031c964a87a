"""Simulated studies with known truth: do intervals cover, do verdicts err as rarely as they say?

    python -m benchmarks.calibration > docs/calibration.md      # five minutes
    python -m benchmarks.calibration --studies 10000 --seed 1

What a study is stands in `benchmarks/simulated_studies.py`. What `verdict` holds back on top (a gap
among the pilot seeds, a cell without a result) makes "supported" rarer than it is in most tables;
the last one has studies with such gaps, judged by `verdict` itself (`benchmarks/held_back.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.held_back import held_back
from benchmarks.simulated_studies import (
    BASE,
    FAILS,
    NOISE,
    ROBUST,
    Truth,
    at,
    decide_simulated,
    joint,
)
from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import clopper_pearson, mean_interval, median_interval

HEAD = """# Calibration of intervals and verdicts

`python -m benchmarks.calibration --studies {studies} --seed {seed}` printed this page (numpy
{numpy}): {studies} simulated studies a row, so a rate near 0.05 is known to ±0.007. What the rows
are is in `benchmarks/calibration.py`; what they teach is in [measures.md](measures.md). In the
verdict tables + is the share supported, − the share refuted; the rest is inconclusive. In the
ladder table "joint" is the verdict on all four parts at the middle β, "ladder −" the share "refuted
on this ladder", "window" the mean number of β's where C1 to C3 are supported together, "true
window" how many there are, "too wide" the share of studies that find more. The last table has half
as many studies a row: the shares supported by the intervals alone, and by the verdict, which holds
back; where a part is not true of the simulated arms its column is a false "supported"."""


def rates(truth: Truth, n_studies: int, n_seeds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Share of studies in which each part, and all together, are supported or refuted."""
    decisions = decide_simulated(truth, n_studies, n_seeds, rng)[0]
    row: dict[str, Any] = {}
    for name, decision in decisions.items():
        row[f"{name} +"], row[f"{name} −"] = decision.supported.mean(), decision.refuted.mean()
    row["all +"] = np.all([d.supported for d in decisions.values()], axis=0).mean()
    return row


def ladder_rates(
    truth: Truth, true_window: int, n_studies: int, n_seeds: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Rates of the joint verdict at the middle β, on the ladder, and the window in levels of β."""
    decisions = decide_simulated(truth, n_studies, n_seeds, rng)
    tuning = decisions[0]["C4"]
    found = joint(decisions, len(decisions) // 2)
    found["too wide"] = found["window"] > true_window
    rates_of = {"C4 +": tuning.supported, "C4 −": tuning.refuted, **found}
    return {name: found.mean() for name, found in rates_of.items()}


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
        "Studies with gaps": held_back(given.studies // 2, rng),
    }.items():
        print(f"\n## {title}\n\n{markdown(table)}")


if __name__ == "__main__":
    main()
