"""A claim has one home: its name, words, order and rule are taken from there and nowhere else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from verdict_studies import GOOD, PROTOCOL, TWO_BETAS

import hdsens
from hdsens.analysis import CLAIMS, Claim, Margins, verdict
from hdsens.analysis.claims.catalogue import rules

PACKAGE = Path(hdsens.__file__).parent
MEASURES = (PACKAGE.parent / "docs" / "measures.md").read_text(encoding="utf-8")


def test_no_other_room_knows_a_claim_by_its_name() -> None:
    """A name as a whole string is one that is compared, listed or looked up."""
    others = [
        path
        for path in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.j2"), *PACKAGE.rglob("*.js"))
        if PACKAGE / "analysis" / "claims" not in path.parents
    ]
    assert len(others) > 100
    named = re.compile(r"""["'](C\d|C\{\{.*)["']""")
    assert [path.name for path in others if named.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_measures_page_has_each_claim_s_own_rule(claim: Claim) -> None:
    rule = claim.rule(Margins())
    row = f"| {claim.name} {claim.title} | {rule.supported.formula} | {rule.refuted.formula} |"
    assert row in MEASURES.splitlines()


def test_the_measures_page_has_no_other_claim_in_their_order() -> None:
    names = re.findall(r"^\| (C\d) .* \|$", MEASURES, flags=re.MULTILINE)
    assert names == [claim.name for claim in CLAIMS]


def test_every_margin_is_one_claim_s_and_is_written_where_it_decides() -> None:
    """Changed by itself, a margin changes the rules of that claim alone."""
    usual = rules(None)
    for name, value in Margins():
        other = Margins(**{name: value + 0.25})
        changed = [
            rule.claim
            for rule, before in zip((c.rule(other) for c in CLAIMS), usual, strict=True)
            if (rule.supported, rule.refuted) != (before.supported, before.refuted)
        ]
        (claim,) = changed
        assert f"{value + 0.25:g}" in claim.rule(other).supported.formula
        words = claim.rule(other).supported.words
        assert (f"{value + 0.25:g} ×" if name == "ratio" else f"{100 * value + 25:g} poi") in words
    assert {claim.margin for claim in CLAIMS} < {name for name, _ in Margins()}


def test_findings_are_what_the_frame_has() -> None:
    found = verdict(replace(GOOD, betas=TWO_BETAS, seeds=(0, 1, 2, 3)).cells(), PROTOCOL)
    assert len(found.findings) == len(found.parts) == 2 * 3 + 1
    for finding, (_, row) in zip(found.findings, found.parts.iterrows(), strict=True):
        assert (finding.claim.name, finding.claim.title) == (row["part"], row["claim"])
        for name in ("task", "arm", "baseline", "primary", "verdict", "quantity", "decided_by"):
            assert getattr(finding, name) == row[name]
        assert finding.fixed == row[["hypergrad_lr"]].dropna().to_dict()
        for name in ("effect", "lower", "upper", "n_seeds", "p_refuted", "margin"):
            assert getattr(finding, name) == row[name]
        assert finding.lower <= finding.effect <= finding.upper
        assert "; ".join(finding.held_back) == row["held_back"]


FIFTH = """
from dataclasses import replace

from hdsens.analysis.claims.zero_works import ZERO_WORKS

FIFTH = replace(
    ZERO_WORKS, name="C5", title="starts by itself", holds="starts from nothing", in_joint=False
)
"""

ASK = """
import sys
from dataclasses import replace
from hdsens.analysis import verdict
from hdsens.report.words.answer import confirmed
from verdict_studies import GOOD, PROTOCOL
found = verdict(replace(GOOD, seeds=range(5)).cells(), PROTOCOL)
print(found)
print(found.joint["not_supported"].item())
asked = found.parts[found.parts["part"] == "C5"]
print(confirmed("sgd_hd", "sgd", "inconclusive", asked))
"""


def test_a_claim_is_added_by_one_file_and_one_line(tmp_path: Path) -> None:
    """Done to a copy of the package, as CONTRIBUTING tells it."""
    shutil.copytree(PACKAGE, tmp_path / "hdsens", ignore=shutil.ignore_patterns("__pycache__"))
    room = tmp_path / "hdsens" / "analysis" / "claims"
    (room / "fifth.py").write_text(FIFTH, encoding="utf-8")
    catalogue = room / "catalogue.py"
    listed = catalogue.read_text(encoding="utf-8").replace(
        "NEVER_WORSE, NO_HARDER_TO_TUNE)", "NEVER_WORSE, NO_HARDER_TO_TUNE, FIFTH)"
    )
    listed = listed.replace(
        "from hdsens.analysis.claims.zero_works",
        "from hdsens.analysis.claims.fifth import FIFTH\nfrom hdsens.analysis.claims.zero_works",
    )
    catalogue.write_text(listed, encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent}", "PATH": ""},
    ).stdout
    assert "  ? C5 starts by itself: INCONCLUSIVE" in told  # as C2, of which five seeds are too few
    assert "  C5 supported: interval of r(0)" in told
    assert "C2 on toy" in told
    assert "C5 on toy" not in told  # it is not asked for in the joint verdict
    assert "whether sgd_hd starts from nothing is open." in told
