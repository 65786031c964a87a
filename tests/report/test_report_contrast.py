"""Lines and marks stand out from what is behind them, in every mode (WCAG 1.4.11: 3:1)."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from report_studies import paper_study, results

from hdsens.analysis import CheckedCells
from hdsens.analysis.measures.points import point_table
from hdsens.analysis.panel.families import Family
from hdsens.report.drawing import palette
from hdsens.report.drawing.canvas import new_figure
from hdsens.report.drawing.heatmap import VALUES, WASHED_OUT, color_scale, draw_heatmap, heatmap
from hdsens.report.drawing.looks import HUES, single
from hdsens.report.evidence.heatmap_measures import measures

CSS = files("hdsens.report.page").joinpath("templates", "page.css").read_text(encoding="utf-8")
LIGHT, DARK, PRINTED = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
)
MODES = {"light": LIGHT, "dark": LIGHT | DARK, "print": LIGHT | PRINTED}


def linear(color: str) -> np.ndarray:
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)


def oklab_mix(high: str, low: str, share: float) -> str:
    """CSS color-mix in oklab: a mean of cube roots of cone responses."""
    roots = [np.cbrt(TO_LMS @ linear(c)) for c in (high, low)]
    rgb = np.linalg.solve(TO_LMS, (share * roots[0] + (1 - share) * roots[1]) ** 3).clip(0, 1)
    return to_hex(np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ramp", palette.RAMPS)
def test_every_line_of_a_ramp_stands_out(mode: str, ramp: str) -> None:
    colors = MODES[mode]
    for share in np.linspace(0, 1, 21):
        color = oklab_mix(colors[f"{ramp}-high"], colors[f"{ramp}-low"], share)
        assert contrast(color, colors["paper"]) >= 3, (share, color)
        assert contrast(palette.PRINT.ramp(ramp, share), palette.PRINT.paper) >= 3


# Colour vision without one kind of cone, on linear RGB (Machado, Oliveira and Fernandes 2009).
SEEN_BY = {
    "all cones": np.eye(3),
    "no long": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no medium": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no short": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def seen(color: str, cones: np.ndarray) -> np.ndarray:
    return TO_OKLAB @ np.cbrt(TO_LMS @ (cones @ linear(color)).clip(0, 1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cones", SEEN_BY)
def test_hues_of_arms_differ_for_any_eyes(mode: str, cones: str) -> None:
    colors = MODES[mode]
    hues = [
        oklab_mix(colors[f"{hue}-high"], colors[f"{hue}-low"], single(i))
        for i, hue in enumerate(HUES)
    ]
    points = [seen(color, SEEN_BY[cones]) for color in (*hues, colors["base"])]
    for one, other in itertools.combinations(points, 2):
        assert np.linalg.norm(one - other) > 0.05  # 0.02 is just noticeable


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("mark", "behind", "least"),
    [
        ("base", "paper", 3), ("muted", "paper", 4.5), ("accent", "paper", 3), ("ink", "paper", 7),
        ("muted", "wash", 3), ("ink", "wash", 4.5), ("ink", "good", 4.5), ("ink", "bad", 4.5),
        ("ink", "warn", 4.5),
    ],
)  # fmt: skip
def test_every_mark_stands_out(mode: str, mark: str, behind: str, least: float) -> None:
    colors = MODES[mode]
    assert contrast(colors[mark], colors[behind]) >= least


def test_dots_stand_out_from_the_lightest_cell() -> None:
    assert contrast(WASHED_OUT, to_hex(VALUES(1.0))) >= 3
    assert contrast(LIGHT["dots"], LIGHT["light"]) >= 3


def test_a_cell_no_better_than_untrained_is_dotted_in_pixels_and_small_in_svg() -> None:
    cells = results(paper_study(arms=paper_study().model_dump(mode="json")["arms"][:1])).cells
    measure = measures(CheckedCells.of(cells), {"train_loss": point_table(cells)}, {}, [])[0]
    shown = heatmap(measure.rows, Family("sgd"), "value", capped=True)
    assert shown.untrained.any()
    plain = replace(shown, untrained=np.zeros_like(shown.untrained))
    counts = []
    for one in (shown, plain):
        figure = new_figure(3.0, 3.0)
        draw_heatmap(figure.subplots(), one, color_scale([one], measure))
        pixels, file = io.BytesIO(), io.StringIO()
        figure.savefig(pixels, format="rgba")
        figure.savefig(file, format="svg")
        assert len(file.getvalue()) < 60_000
        rgba = np.frombuffer(pixels.getvalue(), np.uint8).reshape(-1, 4)
        dots = np.array(to_rgb(WASHED_OUT)) * 255
        counts.append((np.abs(rgba[:, :3] - dots).max(axis=1) < 60).sum())
    assert counts[0] > counts[1] + 20


def test_files_and_pages_have_the_same_colours() -> None:
    for name in ("ink", "muted", "rule", "paper", "base", "wash"):
        assert getattr(palette.PRINT, name) == LIGHT[name]
    for name, ends in palette.RAMPS.items():
        assert ends == (LIGHT[f"{name}-low"], LIGHT[f"{name}-high"])
