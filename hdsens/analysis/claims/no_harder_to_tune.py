"""C4: the arm's two hyperparameters are no harder to tune than the baseline's one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.claim import Claim, Condition, Decision, Grounds
from hdsens.analysis.claims.evidence import ArmEvidence
from hdsens.analysis.claims.held_back import few_alike, not_run_at, without_result
from hdsens.analysis.claims.seeds import few_seeds
from hdsens.analysis.measures.intervals import exceeds_p, mean_interval
from hdsens.analysis.measures.tunability import (
    ArmGrid,
    arm_grids,
    common_points,
    equal_pools,
    expected_best,
    uncommon_points,
)
from hdsens.analysis.panel.panel import Panel
from hdsens.study import Margins

MOST_DRAWS = 8


@dataclass(frozen=True)
class Grids:
    """The nonzero grid of an arm beside its baseline's.

    Attributes:
        own, base: all points of each.
        common_own, common_base: the points that both were run at (see `common_points`).
    """

    own: ArmGrid
    base: ArmGrid
    common_own: ArmGrid
    common_base: ArmGrid

    @property
    def task(self) -> str:
        """Label of the task."""
        return self.own.task

    @property
    def arm(self) -> str:
        """Name of the arm."""
        return self.own.arm

    @property
    def baseline(self) -> str:
        """Name of the arm that it is compared with."""
        return self.own.baseline

    @property
    def fixed(self) -> Mapping[str, Any]:
        """No factor is fixed: the grid is the whole arm's."""
        return {}

    @cached_property
    def evidence(self) -> ArmEvidence:
        """Expected best of k draws from the points that both have, in pools of equal size."""
        pools = equal_pools(self.common_base.regret, self.common_own.regret)
        draws = _draws(pools[0].shape[1])
        return ArmEvidence(*(expected_best(pool, draws).T for pool in pools))


def compared_grids(panel: Panel, regret: Floats) -> Iterable[Grids]:
    """Each arm's grid beside its baseline's, where they have points in common.

    `regret` is (n_points, n_seeds).
    """
    grids = {(grid.task, grid.arm): grid for grid in arm_grids(panel, regret)}
    for own in grids.values():
        base = grids.get((own.task, own.baseline))
        if base is not None and (common := common_points(own, base)) and len(common[0].points):
            yield Grids(own, base, *common)


def _draws(pool_size: int) -> NDArray[np.int64]:
    return np.arange(1, min(MOST_DRAWS, pool_size) + 1)


def decide(evidence: ArmEvidence, margins: Margins) -> Decision:
    """Expected best of k within `tuning` of the baseline's at every k <= 8.

    Not supported for an arm whose tuning never beats the untrained model (regret 1), however bad
    the baseline is too: that would be true and empty.
    """
    contrast = evidence.arm - evidence.base
    effect = mean_interval(contrast)
    learns = mean_interval(evidence.arm[..., -1, :]).estimate < 1
    supported = learns & (effect.upper < margins.tuning).all(axis=-1)
    p = np.minimum(2 * exceeds_p(contrast, margins.tuning), 1.0)
    return Decision(np.asarray(supported), p, effect)


def ground(grids: Grids, decision: Decision, margins: Margins) -> Grounds:
    """What C4 of one arm rests on."""
    most = len(decision.p_refuted)
    own, base = grids.common_own, grids.common_base
    names = tuple(f"k = {k}" for k in range(1, most + 1))
    lost = own.lost.any(axis=1) | base.lost.any(axis=1)
    return Grounds(
        names=names,
        quantities=tuple(
            f"expected best of {k} draws, {grids.arm} − {grids.baseline}"
            for k in range(1, most + 1)
        ),
        holds=tuple(map(bool, decision.effect.upper < margins.tuning)),
        asked=(True,) * most,
        tested=f"k = 1 to {most}"
        + ("" if most == MOST_DRAWS else ", all points of the grids")
        + uncommon_points(grids.own, grids.base, own, base)
        + few_seeds(decision.effect),
        limit=margins.tuning,
        held_back=(
            *few_choices(own, base, most),
            *not_run_at(
                grids.arm, grids.baseline, np.setdiff1d(grids.base.rates, grids.own.full_rates)
            ),
            *without_result(grids.own.seeds[lost]),
            *few_alike(names, decision.effect),
        ),
    )


def few_choices(grid: ArmGrid, base: ArmGrid, most: int) -> Iterable[str]:
    """Hold back: an arm whose own factors have one level has no more to tune than its baseline."""
    own = grid.points.loc[:, grid.points.notna().any() & base.points.isna().all()]
    if not own.empty and len(own.drop_duplicates()) == 1:
        yield f"{grid.arm} was run at one level of {', '.join(own.columns)}"
    if most < MOST_DRAWS:
        yield f"k = {MOST_DRAWS} needs grids of {MOST_DRAWS} points, these reach k = {most}"


NO_HARDER_TO_TUNE = Claim(
    name="C4",
    title="not harder to tune",
    question="Is it no harder to tune?",
    holds="is no harder to tune",
    fails="is harder to tune",
    supported=Condition(
        "interval of expected best of k − expected best of k (baseline) below {tuning} at every"
        f" k <= {MOST_DRAWS}, and the arm beats the untrained model",
        "The best of k settings tried at random loses less than {tuning_points} more than the"
        f" baseline's best of k, at every k up to {MOST_DRAWS} (upper ends), and the arm learns"
        " something.",
    ),
    refuted=Condition(
        "that interval above {tuning} at one k (Holm)",
        "It loses more than {tuning_points} more at one of these k (lower end, Holm).",
    ),
    margin="tuning",
    about="arm",
    decide=decide,
    ground=ground,
    adjusted=True,
)
