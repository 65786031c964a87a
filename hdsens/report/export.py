"""The report's figures and tables as files of their own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.canvas import style
from hdsens.report.drawing.drawings import Drawing, curve_drawings, heatmap_drawings, path_drawings
from hdsens.report.drawing.palette import PRINT
from hdsens.report.drawing.side_drawings import SIDES
from hdsens.report.evidence.gather import Evidence, gather
from hdsens.report.evidence.tables import tables
from hdsens.store import Results

FORMATS = ("svg", "png", "pdf")
DPI = 200


def write_figures(
    results: Sequence[Results], folder: Path, formats: Iterable[str] = FORMATS
) -> tuple[Path, ...]:
    """Write every figure of the report of `results` as a file in each format; returns the paths.

    Names say study, family, kind and number, such as `quickstart-sgd-train_loss-1.svg`; one that is
    taken, as by results of a study of the same name, gets a number more. Results without a
    completed or diverged cell have no figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = tuple(formats)
    paths: list[Path] = []
    for name, ax in figures(results):
        paths += _save(ax, folder / name, kinds)
    return tuple(paths)


def figures(results: Sequence[Results]) -> Iterator[tuple[str, Axes]]:
    """Every figure of the report of `results`, by the name of its file, to change or to save.

    The Axes' figure is `ax.figure`; it belongs to no window. Figures are drawn one at a time.
    """
    studies, files = _Names(), _Names()
    for evidence in _evidence(results):
        study = studies.free(evidence.results.study.name)
        for family in evidence.families:
            for kind, drawings in _kinds(evidence, family):
                for i, ax in enumerate(_styled(drawings), 1):
                    yield files.free(f"{study}-{family.name}-{kind}-{i}"), ax


def _styled(drawings: Iterator[Drawing]) -> Iterator[Axes]:
    """Draw in the report's style; the style is left again before a figure is handed out."""
    while True:
        with style(PRINT):
            drawing = next(drawings, None)
        if drawing is None:
            return
        if not drawing.figure.legends:  # else the legend names what is shown
            drawing.figure.suptitle(drawing.title, x=0.01, ha="left", fontsize=9)
        yield drawing.figure.axes[0]


def write_tables(results: Sequence[Results], folder: Path) -> tuple[Path, ...]:
    """Write the analysis' tables as CSV (every digit) and Markdown (rounded); returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    studies, files = _Names(), _Names()
    for evidence in _evidence(results):
        study = studies.free(evidence.results.study.name)
        for kind, frame in tables(evidence).items():
            path = folder / files.free(f"{study}-{kind}")
            csv, markdown = path.with_name(f"{path.name}.csv"), path.with_name(f"{path.name}.md")
            frame.to_csv(csv, index=False)
            markdown.write_text(as_markdown(frame), encoding="utf-8")
            paths += [csv, markdown]
    return tuple(paths)


def as_markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table: four significant digits, nothing for null.

    >>> print(as_markdown(pd.DataFrame({"arm": ["a|b", "c"], "r": [0.123456, None]})), end="")
    | arm | r |
    |---|---|
    | a\\|b | 0.1235 |
    | c |  |
    """
    head = [str(name) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    lines = [f"| {' | '.join(line)} |" for line in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]) + "\n"


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|")


def _evidence(results: Sequence[Results]) -> Iterator[Evidence]:
    for one in results:
        evidence = gather(one)
        if evidence is not None:
            yield evidence


def _kinds(evidence: Evidence, family: Family) -> Iterator[tuple[str, Iterator[Drawing]]]:
    yield "loss", curve_drawings(evidence, family, PRINT)
    for measure in evidence.measures:
        yield measure.name, heatmap_drawings(evidence, measure, family, PRINT)
    yield "lr", path_drawings(evidence, family, PRINT)
    for kind, draw in SIDES.items():
        yield kind, draw(evidence, family, PRINT)


def _save(ax: Axes, path: Path, formats: Sequence[str]) -> list[Path]:
    figure = ax.get_figure(root=True)
    assert figure is not None
    written = []
    for kind in formats:
        target = path.with_name(f"{path.name}.{kind}")
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with style(PRINT), mpl.rc_context({"svg.hashsalt": "hdsens"}):
            figure.savefig(target, format=kind, dpi=DPI, metadata=dated)
        written.append(target)
    return written


class _Names:
    """Names of files, each once; some file systems do not tell upper case from lower."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, text: str) -> str:
        """The text as the name of a file, with a number where an earlier one has that name."""
        name = re.sub(r"[^\w.-]+", "_", text)
        numbered = (f"{name}-{i}" for i in itertools.count(2))
        names = itertools.chain([name], numbered)
        free = next(name for name in names if name.casefold() not in self._taken)
        self._taken.add(free.casefold())
        return free
