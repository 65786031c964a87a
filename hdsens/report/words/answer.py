"""The answer for a family in plain words, from the verdict and the sensitivity table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hdsens.analysis import Verdict
from hdsens.analysis.claims.catalogue import (
    ABOUT_SETTINGS,
    CLAIMS,
    claim_named,
    findings_at_settings,
    findings_on,
)
from hdsens.analysis.claims.claim import PARTLY
from hdsens.analysis.panel.factors import factors_between
from hdsens.analysis.panel.families import Family
from hdsens.text import count, interval, join, level, percent

FEWEST_SEEDS = 3  # two give intervals that are a dozen standard errors wide
FEW_SEEDS = 5
START = {"supported": "Yes", "refuted": "No", "inconclusive": "Not settled"}
LEADING = CLAIMS[0]  # what the answer is about where no setting was fixed beforehand


@dataclass(frozen=True)
class Answer:
    """Sentences about a family: a verdict on each compared arm, and the losses behind them."""

    verdicts: tuple[str, ...]
    losses: tuple[str, ...] = ()


def answer(rows: pd.DataFrame, family: Family, judged: Verdict | str) -> Answer:
    """The answer for a family; of an arm alone, how wide its good lr are.

    `rows` are the family's rows of `over_common_levels` at the tested settings of other factors.
    """
    names = join(list(family.arms))
    if len(rows) and not rows["n_cells"].any():
        return Answer((f"No confirmatory cell of {names} has a result yet.",))
    if len(rows) and rows["n_cells"].all() and (rows["n_diverged"] == rows["n_cells"]).all():
        return Answer((f"Every cell of {names} diverged: nothing was learnt at any lr.",))
    if not family.compared:
        first, *rest = _alone(rows, family.base)
        return Answer((first,), tuple(rest))
    said = [text for arm in family.compared for text in _of_arm(arm, family.base, judged)]
    return Answer(tuple(said), tuple(_losses(rows, family, judged)))


def _alone(rows: pd.DataFrame, name: str) -> list[str]:
    """Sentences on an arm without a baseline: how wide its good lr are, and what it loses."""
    known = rows[rows["arm"] == name].dropna(subset="regret_mean")
    if not len(known):
        return [f"{name}: no seed has a result at every nonzero lr, so there is no answer."]
    widths = known["decades_within_5pct"].dropna().sort_values().tolist()
    said = []
    if widths:
        ends = " to ".join(f"{width:.3g}" for width in dict.fromkeys((widths[0], widths[-1])))
        noun = "decade" if ends == "1" else "decades"
        said.append(f"{name} stays within 5% of its best over {ends} {noun} of lr.")
    best = [level(value) for value in dict.fromkeys(known["best_level"].dropna())]
    at = f" The best lr is {best[0]}." if len(best) == 1 else ""
    return [*said, f"Averaged over the lr tried, {name} loses {_range(known)}.{at}"]


def _of_arm(arm: str, base: str, judged: Verdict | str) -> list[str]:
    if isinstance(judged, str):
        return [f"No verdict on {arm}: {judged}."]
    parts = judged.parts[judged.parts["arm"] == arm]
    tested = parts[parts["primary"]]
    if len(tested):
        joint = judged.joint.set_index("arm").loc[arm]
        return [confirmed(arm, base, str(joint["verdict"]), tested)]
    first = findings_on(LEADING, parts)
    if not len(first):
        return []
    varied = [f for f in _factors(first) if first[f].notna().any()]
    noun = "settings of hypergrad_lr" if varied == ["hypergrad_lr"] else "settings"
    return [_explored(arm, base, first, noun)]


def confirmed(arm: str, base: str, outcome: str, tested: pd.DataFrame) -> str:
    """The verdict at the setting that was fixed beforehand, by claim; counts over several."""
    settings = [_words(setting) for setting in _tested_settings(tested)]
    if len(settings) > 1:
        return _over_several(arm, base, outcome, tested, settings)
    said_of: dict[str, list[str]] = {kind: [] for kind in START}
    for _, row in tested.iterrows():
        kind, claim = row["verdict"], claim_named(row["part"])
        rows = findings_on(claim, tested)
        said_of[kind].append(claim.says(kind, base) + only_on(rows, base))
    holds, fails, open_ = said_of.values()
    where = f" at {settings[0]}, fixed beforehand," if any(settings) else ""
    said = [f"{join(holds)}"] if holds else []
    said += [f"{'but ' if holds else ''}{join(fails)}"] if fails else []
    sentence = f"{START[outcome]}:{where} {arm} {', '.join(said)}" if said else START[outcome]
    if open_:
        whether = f"whether it {join(open_)} is open"
        sentence += f"; {whether}" if said else f":{where} {whether.replace('it', arm, 1)}"
    return f"{sentence}."


def _over_several(
    arm: str, base: str, outcome: str, tested: pd.DataFrame, settings: Sequence[str]
) -> str:
    said = []
    for name, rows in tested.groupby("part"):
        counts = rows["verdict"].value_counts()
        kinds = join([f"{kind} {_times(counts[kind])}" for kind in START if kind in counts])
        side = only_on(rows, base)
        held = side.replace("(", "(where it holds, ") if side else ""
        said.append(f"“{claim_named(str(name)).says('supported', base)}” is {kinds}{held}")
    where = f"{len(settings)} settings fixed beforehand ({'; '.join(settings)})"
    return f"{START[outcome]}: {arm} was tested at {where}: {', '.join(said)}."


def only_on(rows: pd.DataFrame, baseline: str | None) -> str:
    """Say where a claim holds on one side of the baseline's best lr alone; else no words.

    `rows` are findings on one claim.
    """
    held = rows.loc[rows["verdict"] == "supported", "side"]
    one_sided = held[held.isin(PARTLY)]
    if not len(one_sided):
        return ""
    where = claim_named(rows["part"].iloc[0]).holds_only(one_sided, baseline)
    often = "" if len(one_sided) == len(held) else f"{_times(len(one_sided))} "
    return f" ({often}{where})"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _factors(parts: pd.DataFrame) -> list[str]:
    return factors_between(parts, "baseline", "primary")


def _tested_settings(tested: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Levels of the arm's own factors at each setting that was tested."""
    levels = findings_at_settings(tested)[_factors(tested)].drop_duplicates()
    return [{str(k): v for k, v in row.dropna().items()} for _, row in levels.iterrows()]


def _words(setting: Mapping[str, Any]) -> str:
    return join([f"{name} {level(value)}" for name, value in setting.items()])


def _explored(arm: str, base: str, first: pd.DataFrame, noun: str) -> str:
    """A sentence on the leading claim over all settings of an arm, which are called `noun`."""
    n = len(first)
    counts = {kind: int((first["verdict"] == kind).sum()) for kind in START}
    holds, fails = (LEADING.says(kind, base) for kind in ("supported", "refuted"))
    side = only_on(first, base)
    if counts["supported"] == n:
        return f"Yes: {arm} {holds}{side}{f' at each of {n} {noun}' if n > 1 else ''}."
    if counts["refuted"] == n > 1:
        return f"No: {arm} {fails} at any of {n} {noun}."
    if counts["refuted"] == n:
        return f"No: {arm} {fails}."
    if counts["inconclusive"] == n:
        each = f" at each of {n} {noun}" if n > 1 else ""
        return f"Not settled: whether {arm} {holds} is open{each}."
    rest = [
        words
        for kind, words in (
            ("refuted", count(counts["refuted"], "is refuted", "are refuted")),
            ("inconclusive", count(counts["inconclusive"], "is open", "are open")),
        )
        if counts[kind]
    ]
    if not counts["supported"]:
        return f"Not shown: {arm} {holds} at none of {n} {noun}; {join(rest)}."
    return f"Partly: {arm} {holds}{side} at {counts['supported']} of {n} {noun}; {join(rest)}."


def windows(judged: Verdict | str, family: Family) -> list[str]:
    """Where all claims about a setting are supported together, a sentence an arm; descriptive."""
    if isinstance(judged, str) or not len(judged.window):
        return []
    names = join([claim.name for claim in ABOUT_SETTINGS])
    return [
        f"{arm}: {names} are supported together at {_levels(row['supported'])}."
        for arm in family.compared
        for _, row in judged.window[judged.window["arm"] == arm].head(1).iterrows()
    ]


def _levels(supported: Sequence[float]) -> str:
    if not supported:
        return "no level of hypergrad_lr that was tried"
    return f"hypergrad_lr {join([level(value) for value in supported])}"


def _losses(rows: pd.DataFrame, family: Family, judged: Verdict | str) -> list[str]:
    """What is lost over lr and from lr = 0, at the tested setting or over all of them."""
    known = rows.dropna(subset="regret_mean")
    base = family.base
    own = {arm: _at_tested(known[known["arm"] == arm], judged) for arm in family.compared}
    own = {name: found for name, found in own.items() if len(found)}
    against = known[known["arm"] == base]
    if not own or not len(against):
        return ["What is lost over lr is not known for both: no seed has a result at all their lr."]
    said = join([f"{name} {_range(found)}" for name, found in own.items()])
    zero = {name: found.dropna(subset="regret_zero") for name, found in own.items()}
    from_zero = join([f"{n} loses {_range(f, 'regret_zero')}" for n, f in zero.items() if len(f)])
    return [
        f"Averaged over {_levels_meant(against)}, {base} loses {_range(against)}, {said}."
        + (f" Started at lr = 0, {from_zero}." if from_zero else "")
    ]


def _levels_meant(rows: pd.DataFrame) -> str:
    """The levels of lr that the average is over, in words."""
    n = int(rows["n_common"].max())
    if not rows["n_uncommon"].any():
        return "the lr tried"
    return (
        f"the {n} nonzero lr that all these arms were run at" if n > 1 else "the one lr in common"
    )


def _at_tested(rows: pd.DataFrame, judged: Verdict | str) -> pd.DataFrame:
    """Rows at the setting that was fixed beforehand; all of them where none was."""
    if isinstance(judged, str) or not len(rows):
        return rows
    parts = judged.parts
    own = parts[parts["primary"] & (parts["arm"] == rows["arm"].iloc[0])]
    settings = _tested_settings(own)
    chosen = [
        any(all(r[k] == v for k, v in s.items()) for s in settings) for _, r in rows.iterrows()
    ]
    return rows[chosen] if settings else rows


def _range(rows: pd.DataFrame, column: str = "regret_mean") -> str:
    """Lowest and highest regret of some settings in percent, each with its interval."""
    order = rows.sort_values(column, kind="stable")
    ends = order.iloc[[0, -1]] if len(order) > 1 else order
    said = [loss_words(row, column) for _, row in ends.iterrows()]
    return f"between {said[0]} and {said[1]}" if len(said) > 1 else said[0]


def loss_words(row: Mapping[str, float] | pd.Series, column: str = "regret_mean") -> str:
    """A regret in percent, with its interval from three seeds on."""
    if row["n_seeds"] < FEWEST_SEEDS:
        return f"{percent(row[column])}%"
    low, high = row[f"{column}_lower"], row[f"{column}_upper"]
    first, _, rest = interval(row[column], low, high, percent).partition(" ")
    return f"{first}% {rest}".strip()


def how_sure(rows: pd.DataFrame) -> str:
    """Say what the brackets are, and how few seeds widen them.

    `rows` are of `sensitivity_table`.
    """
    n = int(rows["n_seeds"].max()) if len(rows) else 0
    if not n:
        return ""
    if n < FEWEST_SEEDS:
        return f"{count(n, 'seed')}: too few for intervals that say anything."
    few = ", wide because so few" if n < FEW_SEEDS else ""
    return f"Brackets: 95% intervals over {count(n, 'seed')}{few}."
