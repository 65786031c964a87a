"""C2: the arm works when it starts at lr = 0."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import special

from hdsens.analysis.claims.claim import (
    ONE_SIDED,
    Claim,
    Condition,
    Decision,
    Grounds,
    as_test,
)
from hdsens.analysis.claims.evidence import SettingEvidence
from hdsens.analysis.claims.held_back import nothing_works, without_result
from hdsens.analysis.claims.pairs import WORKS_BELOW, Pair, numbers
from hdsens.analysis.measures.intervals import clopper_pearson, exceeds_p, mean_interval
from hdsens.analysis.panel.settings import name_of
from hdsens.study import Margins

MIN_SEEDS = 10
TOLERATED_DIVERGENCE = 0.05


def decide(evidence: SettingEvidence, margins: Margins) -> Decision:
    """No divergence in at least 10 seeds, and regret within `zero` of the tuned baseline's."""
    contrast = evidence.zero - evidence.base_best
    n = (~np.isnan(evidence.zero_diverged)).sum(axis=-1)
    count = np.nansum(evidence.zero_diverged, axis=-1)
    effect = mean_interval(contrast)
    supported = (n >= MIN_SEEDS) & (count == 0) & (effect.upper < margins.zero)
    p_divergence = np.where(count > 0, special.bdtrc(count - 1, n, TOLERATED_DIVERGENCE), 1.0)
    p = np.fmin(2 * exceeds_p(contrast, margins.zero), np.where(n > 0, p_divergence, np.nan))
    return Decision(supported, np.minimum(p, 1.0)[..., None], as_test(effect))


def ground(pair: Pair, decision: Decision, margins: Margins) -> Grounds:
    """What C2 of one setting rests on."""
    evidence = pair.evidence
    n = int((~np.isnan(evidence.zero_diverged)).sum())
    diverged = int((evidence.zero_diverged == 1).sum())
    lower, upper = clopper_pearson(diverged, n if n > 1 else 0, ONE_SIDED)
    return Grounds(
        names=("lr = 0",),
        quantities=(
            f"r({pair.arm} at lr = 0) − r({pair.baseline} at lr = {pair.base_best_level:g},"
            " its best)",
        ),
        holds=(bool(decision.supported),),
        asked=(True,),
        tested=_tested(pair, n),
        limit=margins.zero,
        held_back=(
            *nothing_works(pair),
            *zero_fails(float(mean_interval(evidence.zero).estimate)),
            *without_result(pair.seeds[pair.lost_zero | pair.lost_base_best]),
        ),
        left_out=tuple(_left_out(pair)),
        check=(diverged / n if n else float("nan"), float(lower), float(upper)),
    )


def _tested(pair: Pair, n: int) -> str:
    if not n:
        return "lr = 0 was not run"
    diverged = pair.seeds[pair.evidence.zero_diverged == 1]
    tested = f"lr = 0, {n} {'seeds' if n != 1 else 'seed'}, {len(diverged)} diverged"
    tested += f" (seeds {', '.join(map(str, diverged))})" if len(diverged) else ""
    return tested + (f"; {MIN_SEEDS} seeds are needed" if n < MIN_SEEDS else "")


def zero_fails(regret: float) -> Iterable[str]:
    """Hold back: mean regret at lr = 0 exceeds 0.5; to equal a bad baseline is not to work."""
    if regret > WORKS_BELOW:
        yield f"mean regret at lr = 0 is {regret:.2g}, above {WORKS_BELOW:g}"


def _left_out(pair: Pair) -> Iterable[str]:
    if pair.setting.zero_row is None:
        yield f"{name_of(pair.setting)}: lr = 0 was not run, {ZERO_WORKS.name} is not tested"
    if pair.unpaired_zero.size:
        yield (
            f"{name_of(pair.setting)}: seeds {numbers(pair.unpaired_zero)} left out of"
            f" {ZERO_WORKS.name}, the cell at lr = 0 is failed or missing"
        )


ZERO_WORKS = Claim(
    name="C2",
    title="lr = 0 works",
    question="Does lr = 0 work?",
    holds="works from lr = 0",
    fails="does not work from lr = 0",
    supported=Condition(
        f"interval of r(0) − r(baseline at its best lr) below {{zero}} and none of at least"
        f" {MIN_SEEDS} seeds diverged",
        f"None of at least {MIN_SEEDS} seeds diverges from lr = 0, and from there it loses less"
        " than {zero_points} more than the baseline at its best lr (upper end).",
    ),
    refuted=Condition(
        f"that interval above {{zero}}, or more than {TOLERATED_DIVERGENCE:.0%} diverge"
        " (one-sided)",
        f"More than {100 * TOLERATED_DIVERGENCE:g}% of the seeds diverge (lower end of a one-sided"
        " 95% bound), or it loses more than {zero_points} more (lower end).",
    ),
    margin="zero",
    about="setting",
    decide=decide,
    ground=ground,
    check="share diverged",
    check_words="share of seeds that diverged = {bounds} (each bound one-sided 95%)",
)
