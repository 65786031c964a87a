"""The claims that a verdict examines. A new one is a file beside this and a line here."""

from __future__ import annotations

import pandas as pd

from hdsens.analysis.claims.claim import Claim, Rule
from hdsens.analysis.claims.less_sensitive import LESS_SENSITIVE
from hdsens.analysis.claims.never_worse import NEVER_WORSE
from hdsens.analysis.claims.no_harder_to_tune import NO_HARDER_TO_TUNE
from hdsens.analysis.claims.zero_works import ZERO_WORKS
from hdsens.study import Margins, Protocol

CLAIMS: tuple[Claim, ...] = (LESS_SENSITIVE, ZERO_WORKS, NEVER_WORSE, NO_HARDER_TO_TUNE)
"""In the order in which tables, page and terminal have them; the first is the leading one."""

ABOUT_SETTINGS = tuple(claim for claim in CLAIMS if claim.about == "setting")
ABOUT_ARMS = tuple(claim for claim in CLAIMS if claim.about == "arm")


def rules(protocol: Protocol | None) -> tuple[Rule, ...]:
    """All rules under a study's margins; the usual ones without a protocol."""
    margins = protocol.margins if protocol else Margins()
    return tuple(claim.rule(margins) for claim in CLAIMS)


def claim_named(name: str) -> Claim:
    """The claim of that name; KeyError if there is none."""
    return {claim.name: claim for claim in CLAIMS}[name]


def findings_on(claim: Claim, parts: pd.DataFrame) -> pd.DataFrame:
    """Rows of a verdict's `parts` that are findings on a claim."""
    return parts[parts["part"] == claim.name]


def findings_at_settings(parts: pd.DataFrame) -> pd.DataFrame:
    """Rows of a verdict's `parts` that are about a setting, not about an arm as a whole."""
    return parts[parts["part"].isin([claim.name for claim in ABOUT_SETTINGS])]
