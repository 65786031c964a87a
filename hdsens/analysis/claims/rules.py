"""The rules of the verdict in words, with the margins that decide."""

from __future__ import annotations

from dataclasses import dataclass

from hdsens.analysis.claims.decisions import (
    MIN_SEEDS_FOR_ZERO,
    MOST_DRAWS,
    TOLERATED_DIVERGENCE,
)
from hdsens.analysis.claims.pairs import WORKS_BELOW
from hdsens.study import Margins, Protocol


@dataclass(frozen=True)
class Criterion:
    """A part of the claim: what it asks, and when it is supported and refuted."""

    part: str
    asks: str
    supported: str
    refuted: str


def criteria(protocol: Protocol | None) -> tuple[Criterion, ...]:
    """The four parts under a study's margins (the usual ones without a protocol)."""
    margins = protocol.margins if protocol else Margins()
    best, zero, worse, tuning = (
        f"{100 * v:g} points" for v in (margins.best, margins.zero, margins.worse, margins.tuning)
    )
    return (
        Criterion(
            "C1",
            "Is it much less sensitive to lr?",
            f"Averaged over the nonzero lr, it loses less than {margins.ratio:g} × what the"
            f" baseline loses, and at its own best lr less than {best} more than the baseline at"
            " its best: the upper ends of both 95% intervals are below these limits.",
            "The lower end of either interval is above its limit.",
        ),
        Criterion(
            "C2",
            "Does lr = 0 work?",
            f"None of at least {MIN_SEEDS_FOR_ZERO} seeds diverges from lr = 0, and from there it"
            f" loses less than {zero} more than the baseline at its best lr (upper end).",
            f"More than {100 * TOLERATED_DIVERGENCE:g}% of the seeds diverge (lower end of a"
            f" one-sided 95% bound), or it loses more than {zero} more (lower end).",
        ),
        Criterion(
            "C3",
            "Is it never worse than the baseline?",
            f"It loses less than {worse} more at every lr where the baseline works, that is where"
            f" all its pilot seeds complete and lose at most {100 * WORKS_BELOW:g}% (one-sided"
            " 95%, each lr must pass).",
            f"At some such lr it loses more than {worse} more (paired t test at 5%, Holm over all"
            " that are tested).",
        ),
        Criterion(
            "C4",
            "Is it no harder to tune?",
            f"The best of k settings tried at random loses less than {tuning} more than the"
            f" baseline's best of k, at every k up to {MOST_DRAWS} (upper ends), and the arm learns"
            " something.",
            f"It loses more than {tuning} more at one of these k (lower end, Holm).",
        ),
    )
