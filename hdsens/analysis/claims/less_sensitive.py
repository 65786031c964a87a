"""C1: the arm is much less sensitive to lr than its baseline, and gives nothing up at the best."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.claim import Claim, Condition, Decision, Grounds, as_test
from hdsens.analysis.claims.evidence import SettingEvidence
from hdsens.analysis.claims.held_back import (
    few_alike,
    not_run_at,
    nothing_works,
    without_result,
)
from hdsens.analysis.claims.pairs import Pair, numbers
from hdsens.analysis.claims.seeds import agree, paired_seeds, seeds_tested
from hdsens.analysis.measures.intervals import exceeds_p, mean_interval
from hdsens.analysis.panel.settings import levels_per_decade, name_of
from hdsens.study import Margins


def decide(evidence: SettingEvidence, margins: Margins) -> Decision:
    """R(arm) − ratio · R(baseline) < 0 with R the mean over levels, and G below `best`.

    Either one refutes. p is twice the one-sided p, since "the 95% interval's lower bound is above"
    is a one-sided test at 2.5%.
    """
    contrast = evidence.arm.mean(axis=-2) - margins.ratio * evidence.base.mean(axis=-2)
    effect, check = mean_interval(contrast), mean_interval(evidence.gap)
    supported = (effect.upper < 0) & (check.upper < margins.best)
    p = 2 * np.fmin(exceeds_p(contrast), exceeds_p(evidence.gap, margins.best))
    return Decision(supported, np.minimum(p, 1.0)[..., None], as_test(effect), as_test(check))


def ground(pair: Pair, decision: Decision, margins: Margins) -> Grounds:
    """What C1 of one setting rests on."""
    gap = decision.check
    assert gap is not None
    alike = bool(agree(decision.effect).any())
    lost = (pair.lost_base | pair.lost_arm).any(axis=0) | pair.lost_base_best | pair.lost_arm_best
    return Grounds(
        names=("R",),
        quantities=(f"R({pair.arm}) − {margins.ratio:g}·R({pair.baseline})",),
        holds=(bool(decision.supported),),
        asked=(True,),
        tested=(
            f"{pair.levels.size} levels, lr = {pair.levels.min():g} to {pair.levels.max():g},"
            f" {seeds_tested(int(pair.paired.sum()), alike)}; G at lr = {pair.arm_best_level:g},"
            f" baseline at lr = {pair.base_best_level:g}, {paired_seeds(int(gap.n[0]))}"
        ),
        limit=0.0,
        held_back=(
            *no_range(pair.levels),
            *nothing_works(pair),
            *not_run_at(pair.arm, pair.baseline, pair.absent),
            *best_elsewhere(pair),
            *without_result(pair.seeds[lost]),
            *few_alike(["R"], decision.effect),
            *few_alike(["G"], gap),
        ),
        left_out=tuple(_left_out(pair)),
        side=side_of(pair, margins),
        check=(float(gap.estimate[0]), float(gap.lower[0]), float(gap.upper[0])),
    )


def no_range(levels: Floats) -> Iterable[str]:
    """Hold back: R is a mean over levels, and means little where they are not equally spaced."""
    if levels.size < 2:
        yield "one level of lr shows no sensitivity"
    elif np.isnan(levels_per_decade(levels)):
        yield "the lr levels are not equally spaced in log10"


def best_elsewhere(pair: Pair) -> Iterable[str]:
    """Hold back: the baseline was not run at the arm's best lr, where it may be better."""
    if not np.isnan(pair.arm_best_level) and pair.arm_best_level not in pair.base_levels:
        yield f"{pair.baseline} was not run at lr = {pair.arm_best_level:g}, the best of {pair.arm}"


def _left_out(pair: Pair) -> Iterable[str]:
    if pair.unpaired.size:
        yield (
            f"{name_of(pair.setting)}: seeds {numbers(pair.unpaired)} left out of"
            f" {LESS_SENSITIVE.name}, a cell is failed or missing"
        )


def side_of(pair: Pair, margins: Margins) -> str:
    """Sides of the baseline's pilot-best lr on which the contrast is below 0 with confidence."""
    contrast = pair.evidence.arm - margins.ratio * pair.evidence.base
    sides = {
        "below": pair.levels < pair.base_best_level,
        "above": pair.levels > pair.base_best_level,
    }
    held = [
        name
        for name, at in sides.items()
        if at.any() and bool(mean_interval(contrast[at].mean(axis=0)).upper < 0)
    ]
    return "both" if len(held) == 2 else held[0] if held else "neither"


LESS_SENSITIVE = Claim(
    name="C1",
    title="much less sensitive to lr",
    question="Is it much less sensitive to lr?",
    holds="depends much less on lr than {baseline}",
    fails="does not depend much less on lr than {baseline}",
    supported=Condition(
        "interval of R − {ratio}·R(baseline) below 0, that of G below {best}",
        "Averaged over the nonzero lr, it loses less than {ratio} × what the baseline loses, and at"
        " its own best lr less than {best_points} more than the baseline at its best: the upper"
        " ends of both 95% intervals are below these limits.",
    ),
    refuted=Condition(
        "either interval above", "The lower end of either interval is above its limit."
    ),
    margin="ratio",
    about="setting",
    decide=decide,
    ground=ground,
    sides={
        "both": "below and above",
        "below": "only below",
        "above": "only above",
        "neither": "on neither side alone of",
    },
    check="G, regret at best lr",
    check_words="G, what is given up at the best lr = {bounds}",
)
