"""The smaller figures beside a family's heatmaps, each answering one question."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hdsens.analysis.claims.no_harder_to_tune import NO_HARDER_TO_TUNE
from hdsens.analysis.measures.importance import IMPORTANCE
from hdsens.analysis.measures.tunability import TUNABILITY
from hdsens.analysis.panel.families import Family
from hdsens.report.drawing import good_levels, reach, seed_pairs, shares, tuning
from hdsens.report.drawing.canvas import new_figure
from hdsens.report.drawing.curves import family_legend
from hdsens.report.drawing.drawings import Drawing, at
from hdsens.report.drawing.looks import arm_looks, looks
from hdsens.report.drawing.palette import Palette
from hdsens.report.evidence.arm_settings import settings_of
from hdsens.report.evidence.gather import Evidence
from hdsens.report.evidence.points import METRICS, family_points

WIDTH, HEIGHT = 3.6, 2.6
MAX_ROWS = 13

Draw = Callable[[Evidence, Family, Palette], Iterator[Drawing]]


def side_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """All side drawings of a family that the study has numbers for."""
    for draw in SIDES.values():
        yield from draw(evidence, family, palette)


def tuning_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """Expected best regret: one drawing, where a grid has more than one setting to try."""
    curves = evidence.tables[TUNABILITY.name]
    if not len(curves):
        return
    rows = family_points(curves, family).dropna(subset="best")
    if not len(rows) or rows["draws"].max() < 2:
        return
    figure = new_figure(WIDTH, HEIGHT)
    own = arm_looks(family, evidence.hd_arms, palette)
    tuning.draw_tuning(figure.subplots(), rows, family, own, palette=palette)
    if len(family.arms) > 1:
        family_legend(figure.axes[0], len(family.arms))
    words = f"Expected best regret by settings tried. {tuning.tuning_text(rows, family)}."
    note = (
        "Regret of the best of k settings drawn at random from the arm's own nonzero grid, over all"
        " its factors. Bands are approximate: bootstrap over seeds."
    )
    if family.compared:
        note += (
            f" {NO_HARDER_TO_TUNE.name} compares pools of equal size instead, so it may say"
            " otherwise than these curves."
        )
        words += f" {tuning.equal_pools_text(rows, family)}."

    yield Drawing(figure, "What does tuning cost?", words, note)


def window_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """The levels at which an arm is good: one drawing, where not too many settings."""
    rows = family_points(evidence.points, family, evidence.tested(family)[0])
    settings = good_levels.levels_of(rows, family)
    if not settings or len(settings) > MAX_ROWS or not (rows["lr"] > 0).any():
        return
    figure = new_figure(WIDTH, 0.9 + 0.24 * max(len(settings), 3))
    own = looks([s.setting for s in settings], family, evidence.hd_arms, palette)
    good_levels.draw_good_levels(figure.subplots(), settings, own, palette=palette)
    said = good_levels.good_levels_text(settings)
    words = f"Levels of lr with a mean regret of at most 0.05. {said}."
    note = "Large marks: mean regret at most 0.05; crosses: a seed diverged."
    yield Drawing(figure, "Which lr are good?", words, _join(note, at(evidence.tested(family)[0])))


def reach_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """Steps to each target: a drawing a target that some setting reached."""
    for target, table in evidence.steps.items():
        rows = family_points(table, family, evidence.tested(family)[0])
        settings = reach.reaches(rows, family)
        if len(settings) > MAX_ROWS or not rows["median_steps"].lt(float("inf")).any():
            continue
        figure = new_figure(WIDTH, HEIGHT)
        own = looks([s.setting for s in settings], family, evidence.hd_arms, palette)
        reach.draw_reaches(figure.subplots(), settings, own, palette=palette)
        if len(settings) > 1:
            family_legend(figure.axes[0], len(settings))
        words = f"Median steps to target {target} by initial lr. {reach.reaches_text(settings)}."
        note = "Median over seeds; arrows at the top: half of the seeds did not get there."
        title = f"How many steps to {target}?"
        yield Drawing(figure, title, words, _join(note, at(evidence.tested(family)[0])))


def pair_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """Each compared arm against the base seed by seed: one drawing, none without pairs."""
    rows = family_points(evidence.pairs, family) if len(evidence.pairs) else evidence.pairs
    if not len(rows):
        return
    figure = new_figure(WIDTH, HEIGHT)
    label = METRICS[evidence.metric]
    pairs = list(settings_of(rows, family, evidence.factors))
    own = looks([setting for setting, _ in pairs], family, evidence.hd_arms, palette)
    ax = figure.subplots()
    seed_pairs.draw_seed_pairs(ax, pairs, own, base=family.base, label=label, palette=palette)
    if 1 < len(pairs) <= MAX_ROWS:
        family_legend(ax, len(pairs))
    said = seed_pairs.seed_pairs_text(pairs)
    words = f"{label.capitalize()} against {family.base}'s. {said}."
    note = (
        f"A dot is one seed at one lr in both arms; below the line {family.base} is worse."
        " Diamonds: lr = 0; crosses: one of the two diverged."
    )
    yield Drawing(figure, "Seed by seed", words, note)


def share_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """What matters: one drawing, where an arm has more than one factor."""
    terms = evidence.tables[IMPORTANCE.name]
    if not len(terms):
        return
    rows = shares.shown_shares(family_points(terms, family))
    if not len(rows) or len(rows) > MAX_ROWS:
        return
    figure = new_figure(WIDTH, 0.7 + 0.26 * max(len(rows), 3))
    shares.draw_shares(figure.subplots(), rows, palette=palette)
    words = f"Share of the variance of regret by factor. {shares.shares_text(rows)}."
    note = "Over the nonzero grid (functional ANOVA); lines: 95% intervals over seeds."
    yield Drawing(figure, "Which factor matters?", words, note)


def _join(*texts: str) -> str:
    return " ".join(text for text in texts if text)


SIDES: dict[str, Draw] = {
    "window": window_drawings,
    "seeds": pair_drawings,
    "tuning": tuning_drawings,
    "steps": reach_drawings,
    "importance": share_drawings,
}
"""By the name that their files bear."""
