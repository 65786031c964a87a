"""Matplotlib figures without pyplot, and as SVG that can lie in a page beside others."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hdsens.report.drawing.palette import Palette, use_css
from hdsens.text import level

STYLE: Final[dict[Any, Any]] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.parse_math": False,  # a `$` in a name is a dollar sign
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "hatch.linewidth": 0.6,
}


@contextmanager
def style(palette: Palette) -> Iterator[None]:
    """Matplotlib settings of the report, with the colours of a palette."""
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor")
    settings: dict[Any, Any] = {
        **STYLE,
        **dict.fromkeys(inks, palette.ink),
        **dict.fromkeys(("xtick.color", "ytick.color", "hatch.color"), palette.muted),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), palette.paper),
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches; it belongs to no window and no global state."""
    return Figure(figsize=(width, height), layout="constrained")


def bare(ax: Axes) -> None:
    """Leave the left and bottom spine only."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def plain_log(axis: Axis, low: float, high: float) -> None:
    """Ticks of a log axis as plain text: decades, and 2 and 5 between them where there are few."""
    few = high / low < 30 if low > 0 else False
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter(plain_ticks)
    axis.set_minor_formatter(NullFormatter())


def plain_ticks(value: float, _position: float) -> str:
    """A tick's number as plain text (matplotlib's own log ticks are formulas)."""
    return f"{value:,.0f}" if value >= 10 else level(value)


def inline_svg(figure: Figure, key: str, title: str) -> str:
    """The figure as an `<svg>` element whose ids no other figure of the page has.

    Args:
        figure: drawn with the palette `PAGE`.
        key: distinguishes the figure within its page; decides the ids, so equal input gives equal
            output.
        title: what a screen reader says (plain text; it is escaped here).
    """
    with mpl.rc_context(STYLE):
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->|<style[^>]*>.*?</style>", "", svg, flags=re.S
    )
    svg = _keep_used_ids(svg, key)
    svg = _shorten(svg)
    return _open_tag(use_css(svg), title)


def _keep_used_ids(svg: str, key: str) -> str:
    """Drop ids that nothing refers to; number the others after the figure's key."""
    used = dict.fromkeys(re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', svg))
    names = {old: f"{key}-{i}" for i, old in enumerate(used)}
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", svg)
    return re.sub(r'(url\(#|xlink:href="#)([^)"]+)', lambda m: m[1] + names[m[2]], svg)


def _shorten(svg: str) -> str:
    """A tenth of a point is enough for geometry; the page's style names the font."""
    geometry = r' (?:d|x|y|points|transform|width|height)="[^"]*"'
    svg = re.sub(geometry, _short_geometry, svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r' ?font-family: [^;"]*;?| transform="rotate\(-?0 [^"]*"', "", svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _short_geometry(attribute: re.Match[str]) -> str:
    text = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), attribute[0])
    return re.sub(r"\s*([A-Zz])\s*", r"\1", text) if text.startswith(" d=") else text


def _open_tag(svg: str, title: str) -> str:
    """Replace matplotlib's opening tag: as wide as its box, never wider than drawn."""
    tag = svg[: svg.index(">") + 1]
    box = re.search(r'viewBox="([^"]+)"', tag)
    assert box is not None
    width = float(box[1].split()[2]) * 4 / 3
    text = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    new = (
        f'<svg viewBox="{box[1]}" role="img" aria-label="{text}"'
        f' style="width:{width:.0f}px;max-width:100%" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return new + svg[len(tag) :].strip()
