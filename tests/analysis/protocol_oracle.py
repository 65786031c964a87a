"""The rules of the verdict once more, slowly: one study, one family, loops, nothing of hdsens.

A study is losses by level of lr: `base` and `hd`, {lr: [one a seed]}, where None is a cell that
diverged and NaN one without a result. `initial` is L0, one a seed. The pilots come likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

Curve = dict[float, list[float | None]]


@dataclass(frozen=True)
class Seeds:
    base: Curve
    hd: Curve
    initial: list[float]

    def capped(self, curve: Curve, lr: float) -> list[float]:
        """Losses capped at the seed's own L0; a diverged one is L0."""
        pairs = zip(curve[lr], self.initial, strict=True)
        return [l0 if loss is None or loss > l0 else loss for loss, l0 in pairs]


def bound(x: list[float], tail: float = 0.025) -> tuple[float, float]:
    """One-sided bounds of the mean, below and above; NaN below two seeds."""
    known = [value for value in x if not np.isnan(value)]
    n = len(known)
    if n < 2:
        return np.nan, np.nan
    mean, s = sum(known) / n, float(np.std(known, ddof=1))
    reach = float(stats.t.ppf(1 - tail, n - 1)) * s / n**0.5
    return mean - reach, mean + reach


def mean_of(*rows: list[float]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*rows, strict=True)]


def combine(*terms: tuple[float, list[float]]) -> list[float]:
    """A contrast: the weighted sum, seed by seed."""
    n = len(terms[0][1])
    return [sum(weight * row[i] for weight, row in terms) for i in range(n)]


def judge(seeds: Seeds, pilots: Seeds) -> dict[str, str]:
    """The marks of C1, C2, C3, and the reason of each hold-back that occurred, by claim."""
    levels = sorted(lr for lr in seeds.base if lr > 0)
    base = {lr: seeds.capped(seeds.base, lr) for lr in levels}
    hd = {lr: seeds.capped(seeds.hd, lr) for lr in seeds.hd}
    l0 = seeds.initial
    pilot_mean = {("base", lr): np.nanmean(pilots.capped(pilots.base, lr)) for lr in levels} | {
        ("hd", lr): np.nanmean(pilots.capped(pilots.hd, lr)) for lr in pilots.hd
    }
    cells = {("base", lr): base[lr] for lr in levels} | {("hd", lr): hd[lr] for lr in hd}
    k = min(pilot_mean, key=lambda cell: pilot_mean[cell])
    best_j = min(levels, key=lambda lr: pilot_mean["base", lr])
    best_h = min((lr for lr in hd if lr > 0), key=lambda lr: pilot_mean["hd", lr])
    gain = float(np.mean(pilots.initial) - pilot_mean[k])

    def lower(x: list[float]) -> float:
        return bound(x)[0]

    def upper_floored(x: list[float]) -> float:
        return bound([max(v, -0.2 * gain) if not np.isnan(v) else v for v in x])[1]

    def within_two_percent(h: float, j: float) -> list[float]:
        return combine((1, hd[h]), (-0.98, base[j]), (-0.02, l0))

    held = hold_backs(seeds, pilots, levels, best_j, base, gain)
    marks = {
        "C1": less_sensitive(
            levels, base, hd, cells, k, best_j, best_h, lower, upper_floored, within_two_percent
        ),
        "C2": zero_works(seeds, hd, levels, best_j, lower, upper_floored, within_two_percent),
        "C3": never_worse(levels, base, hd, cells[k], l0, lower, upper_floored),
    }
    return {name: "inconclusive" if held[name] else mark for name, mark in marks.items()} | {
        f"{name} held back": held[name] for name in marks
    }


def hold_backs(seeds, pilots, levels, best_j, base, gain):
    at = levels.index(best_j)
    whole = ""
    if gain < 0.01 * float(np.mean(pilots.initial)):
        whole = "nothing was learnt"
    elif at in (0, len(levels) - 1):
        whole = "edge"
    else:
        best = np.nanmean(base[best_j])
        near = [np.nanmean(base[levels[i]]) - best for i in (at - 1, at + 1)]
        whole = "steps over" if min(near) > 0.1 * gain else ""

    def lost(curve, which):
        return any(value is not None and np.isnan(value) for lr in which for value in curve[lr])

    if lost(pilots.base, levels) or lost(pilots.hd, pilots.hd):
        whole = whole or "missing"
    missing = {
        "C1": lost(seeds.base, levels) or lost(seeds.hd, seeds.hd),
        "C2": lost(seeds.base, levels) or lost(seeds.hd, [0.0]),
        "C3": lost(seeds.base, levels) or lost(seeds.hd, levels),
    }
    return {name: whole or ("missing" if gone else "") for name, gone in missing.items()}


def less_sensitive(levels, base, hd, cells, k, best_j, best_h, lower, upper_floored, kay):
    def contrast(which, c):
        ours, theirs = mean_of(*(hd[lr] for lr in which)), mean_of(*(base[lr] for lr in which))
        return combine((1, ours), (-0.5, theirs), (-0.5, cells[c]))

    def below_zero(which):
        return not which or all(upper_floored(contrast(which, c)) < 0 for c in cells)

    could_be_best = [
        j for j in levels if not bound(combine((1, base[j]), (-1, base[best_j])), tail=0.005)[0] > 0
    ]
    sides = {
        "below": all(below_zero([lr for lr in levels if lr < j]) for j in could_be_best),
        "above": all(below_zero([lr for lr in levels if lr > j]) for j in could_be_best),
    }
    gap = all(upper_floored(kay(best_h, j)) < 0 for j in levels)
    if below_zero(levels) and gap and any(sides.values()):
        return "supported" if all(sides.values()) else "partly supported"
    if lower(contrast(levels, k)) > 0 or all(lower(kay(h, best_j)) > 0 for h in hd):
        return "refuted"
    return "inconclusive"


def zero_works(seeds, hd, levels, best_j, lower, upper_floored, kay):
    ended = list(zip(seeds.hd[0.0], seeds.initial, strict=True))
    ended = [(loss, l0) for loss, l0 in ended if loss is None or not np.isnan(loss)]
    stuck = [loss is None or not loss < l0 - 1e-6 * max(1, abs(l0)) for loss, l0 in ended]
    bad, n = sum(stuck), len(stuck)
    if n >= 10 and not bad and all(upper_floored(kay(0.0, j)) < 0 for j in levels):
        return "supported"
    often = bad and float(stats.beta.ppf(0.05, bad, n - bad + 1)) > 0.05
    return "refuted" if lower(kay(0.0, best_j)) > 0 or often else "inconclusive"


def never_worse(levels, base, hd, tuned, l0, lower, upper_floored):
    tested, p_values = [], []
    for j in levels:
        half = combine((1, base[j]), (-0.5, tuned), (-0.5, l0))
        worse = combine((1, hd[j]), (-1, base[j]), (-0.02, l0), (0.02, tuned))
        if not bound(half)[0] > 0:
            tested.append(upper_floored(worse) < 0)
        if bound(half)[1] < 0:
            p_values.append(stats.ttest_1samp(worse, 0, alternative="greater").pvalue)
    if tested and all(tested):
        return "supported"
    p_values = sorted(p_values)
    rejects = bool(p_values) and p_values[0] * len(p_values) <= 0.025
    return "refuted" if rejects else "inconclusive"
