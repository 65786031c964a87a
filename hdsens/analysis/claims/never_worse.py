"""C3: the arm is never worse than its baseline, at any lr where the baseline works."""

from __future__ import annotations

import numpy as np

from hdsens.analysis.claims.claim import ONE_SIDED, Claim, Condition, Decision, Grounds
from hdsens.analysis.claims.evidence import SettingEvidence
from hdsens.analysis.claims.held_back import few_alike, not_run_at, without_result
from hdsens.analysis.claims.pairs import WORKS_BELOW, Pair
from hdsens.analysis.claims.seeds import few_seeds
from hdsens.analysis.measures.intervals import exceeds_p, mean_interval
from hdsens.study import Margins


def decide(evidence: SettingEvidence, margins: Margins) -> Decision:
    """Non-inferior at every level where the baseline works (intersection-union)."""
    tested = np.asarray(evidence.base_works, dtype=bool)
    contrast = evidence.arm - evidence.base
    effect = mean_interval(contrast, ONE_SIDED)
    supported = tested.any(axis=-1) & ((effect.upper < margins.worse) | ~tested).all(axis=-1)
    p = np.where(tested, exceeds_p(contrast, margins.worse), np.nan)
    return Decision(np.asarray(supported), p, effect)


def ground(pair: Pair, decision: Decision, margins: Margins) -> Grounds:
    """What C3 of one setting rests on."""
    works = pair.evidence.base_works
    names = tuple(f"lr = {level:g}" for level in pair.levels)
    where = [name for name, tested in zip(names, works, strict=True) if tested]
    effect = decision.effect.at(works)
    lost = (pair.lost_base | pair.lost_arm)[works].any(axis=0)
    return Grounds(
        names=names,
        quantities=tuple(f"r({pair.arm}) − r({pair.baseline}) at {name}" for name in names),
        holds=tuple(map(bool, decision.effect.upper < margins.worse)),
        asked=tuple(map(bool, works)),
        tested=(
            f"{len(where)} of {len(names)} lr levels, where {pair.baseline} works on the pilot"
            f" seeds: {where[0].removeprefix('lr = ')} to {where[-1].removeprefix('lr = ')}"
            f"{few_seeds(effect)}"
            if where
            else f"no level of lr where {pair.baseline} works on the pilot seeds"
        ),
        limit=margins.worse,
        held_back=(
            *not_run_at(pair.arm, pair.baseline, pair.absent_working),
            *without_result(pair.seeds[lost]),
            *few_alike(where, effect),
        ),
    )


NEVER_WORSE = Claim(
    name="C3",
    title="never worse than the baseline",
    question="Is it never worse than the baseline?",
    holds="is never worse than {baseline}",
    fails="is worse than {baseline} at some lr",
    supported=Condition(
        "upper bound of r − r(baseline) below {worse} at every level where the baseline works",
        "It loses less than {worse_points} more at every lr where the baseline works, that is where"
        f" all its pilot seeds complete and lose at most {100 * WORKS_BELOW:g}% (one-sided 95%,"
        " each lr must pass).",
    ),
    refuted=Condition(
        "r − r(baseline) above {worse} at one of them (paired t, Holm)",
        "At some such lr it loses more than {worse_points} more (paired t test at 5%, Holm over all"
        " that are tested).",
    ),
    margin="worse",
    about="setting",
    decide=decide,
    ground=ground,
    confidence=ONE_SIDED,
    adjusted=True,
)
