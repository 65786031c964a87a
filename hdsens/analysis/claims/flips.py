"""Findings that came to something else in other results of the same study."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import pandas as pd

from hdsens.analysis.claims.finding import Finding
from hdsens.analysis.claims.verdict import Verdict
from hdsens.text import setting_words


@dataclass(frozen=True)
class Flip:
    """A finding whose verdict was another one in the earlier results: `before`."""

    finding: Finding
    before: str

    def __str__(self) -> str:
        """Tell it, such as "C2 lr = 0 works: sgd_hd, hypergrad_lr 1e-4: was refuted, is …"."""
        found = self.finding
        where = setting_words(found.arm, found.fixed)
        told = f"was {self.before}, is {found.verdict}"
        return f"{found.claim.name} {found.claim.title}: {where}: {told}"


def common_findings(before: Verdict, after: Verdict) -> tuple[Finding, ...]:
    """Those of `after` that `before` has too: the same claim on the same setting and task."""
    known = _verdicts(before)
    return tuple(found for found in after.findings if _place(found) in known)


def find_flips(before: Verdict, after: Verdict) -> tuple[Flip, ...]:
    """The findings that both have with another verdict, in the order of `after`."""
    known = _verdicts(before)
    return tuple(
        Flip(found, known[_place(found)])
        for found in common_findings(before, after)
        if known[_place(found)] != found.verdict
    )


def with_earlier(after: Verdict, before: Verdict) -> Verdict:
    """`after`, whose `parts` get the column `was`: the earlier verdict of findings that flipped."""
    flipped = {_place(flip.finding): flip.before for flip in find_flips(before, after)}
    was = [flipped.get(_place(found)) for found in after.findings]
    marks = pd.Series(was, index=after.parts.index, dtype="object")
    return replace(after, parts=after.parts.assign(was=marks))


def _verdicts(judged: Verdict) -> dict[Hashable, str]:
    return {_place(found): found.verdict for found in judged.findings}


def _place(found: Finding) -> Hashable:
    """What a finding is about, whatever it came to."""
    return found.claim.name, found.task, found.arm, tuple(sorted(found.fixed.items()))
