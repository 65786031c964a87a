"""Simulated studies with known truth, and what the rules of the verdict say of them.

A study is a base arm and an HD arm over lr = 0 and 13 half-decades, with pilot seeds; the HD arm
has one hypergrad_lr, or a ladder of them. Its mean regret at each level is given; noise comes on
top, in part shared by all arms (common random numbers). Everything is decided by the rules of
`hdsens.analysis.claims`, thousands of studies at once; `cells_of` gives the same studies as frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.catalogue import ABOUT_ARMS, ABOUT_SETTINGS
from hdsens.analysis.claims.claim import ALPHA, Claim, Decision
from hdsens.analysis.claims.evidence import ArmEvidence, SettingEvidence
from hdsens.analysis.measures.intervals import holm
from hdsens.analysis.measures.regret import normalised_regret
from hdsens.analysis.measures.tunability import equal_pools, expected_best
from hdsens.study import Margins

L0, BEST = 2.3, 0.3
N_LEVELS, N_PILOT = 13, 3
DRAWS = np.arange(1, 9)
MARGINS = Margins()
RATES = np.array([0.0, *(float(f"{10**e:.6g}") for e in np.arange(-6, 0.1, 0.5))])
BETAS = (1e-4, 1e-3, 1e-2)
PROTOCOL = {"pilot_seeds": [100, 101, 102], "primary": {"sgd_hd": {"hypergrad_lr": 1e-3}}}

# Regret of a plain optimizer over half-decades of lr from 1e-6 to 1: too small, right, too large.
BASE = np.array([1, 1, 1, 0.99, 0.97, 0.9, 0.7, 0.4, 0.12, 0.02, 0.0, 0.1, 0.8])
ROBUST = np.array([0.03, 0.03, 0.03, 0.03, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01, 0.0, 0.05, 0.3])
FAILS = np.ones(N_LEVELS)

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
    of_arms = _decide(ABOUT_ARMS, ArmEvidence(*best))
    return [
        _decide(
            ABOUT_SETTINGS,
            SettingEvidence(
                base=base,
                arm=hd[:, 1:],
                base_best=base_best,
                arm_best=hd_best,
                zero=hd[:, 0],
                zero_diverged=1.0 * diverged,
                base_works=works,
            ),
        )
        | of_arms
        for hd, hd_best, diverged in zip(
            np.moveaxis(regret[:, 1:], 1, 0),
            np.moveaxis(at_best[:, 1:], 1, 0),
            np.moveaxis(studies.diverged[:, 1:, 0], 1, 0),
            strict=True,
        )
    ]


def _decide(
    claims: Sequence[Claim], evidence: SettingEvidence | ArmEvidence
) -> dict[str, Decision]:
    return {claim.name: claim.decide(evidence, MARGINS) for claim in claims}


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
    at_settings = [[d[claim.name] for claim in ABOUT_SETTINGS] for d in decisions]
    return {
        "joint +": supported(tested),
        "joint −": refuted(tested),
        "ladder −": np.all([refuted(parts) for parts in at_settings], axis=0),
        "window": np.sum([supported(parts) for parts in at_settings], axis=0),
    }


def decide_simulated(
    truth: Truth, n_studies: int, n_seeds: int, rng: np.random.Generator
) -> list[dict[str, Decision]]:
    studies = simulate(truth, n_studies, n_seeds, rng)
    quiet = replace(truth, spread=0.0, shared=0.0) if truth.exact_pilot else truth
    return decide(studies, simulate(quiet, n_studies, N_PILOT, rng))


def at(level: int, value: float) -> Floats:
    """Return zeros with one value."""
    return np.where(np.arange(N_LEVELS) == level, value, 0.0)


def cells_of(studies: Studies, pilot: Studies) -> pd.DataFrame:
    """The cells of simulated studies as `read_cells` gives them, each study a task of its own."""
    parts = [_rows(studies, "confirmatory", 0), _rows(pilot, "pilot", 100)]
    cells = pd.concat(parts, ignore_index=True)
    return cells.assign(cell_id=cells.index.astype(str))


def _rows(studies: Studies, role: str, first_seed: int) -> pd.DataFrame:
    study, arm, level, seed = (index.ravel() for index in np.indices(studies.loss.shape))
    betas = BETAS if studies.loss.shape[1] > 2 else BETAS[1:2]
    diverged = studies.diverged.ravel()
    return pd.DataFrame(
        {
            "task": np.array([f"study {i}" for i in range(len(studies.loss))])[study],
            "arm": np.where(arm > 0, "sgd_hd", "sgd"),
            "baseline": pd.Series(np.where(arm > 0, "sgd", ""), dtype="str").replace("", None),
            "lr": RATES[level],
            "hypergrad_lr": np.array([np.nan, *betas])[arm],
            "seed": seed + first_seed,
            "role": role,
            "outcome": np.where(diverged, "diverged", "completed"),
            "initial_loss": L0,
            "train_loss": np.where(diverged, np.nan, studies.loss.ravel()),
        }
    )
