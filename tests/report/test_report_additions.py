"""A measure with its table, and a figure, are added as CONTRIBUTING tells: a file and a line each.

Done to a copy of the package; what comes out is looked for everywhere.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import hdsens

PACKAGE = Path(hdsens.__file__).parent

MEASURE = '''
"""How far the seeds of a point lie apart."""

import numpy as np

from hdsens.analysis.measures.regret import labels
from hdsens.analysis.measures.table import Column, MeasureTable
from hdsens.analysis.panel.cells import CheckedCells


def spread_table(cells, metric="train_loss"):
    """Highest minus lowest capped loss of a seed at each point, in the metric's units."""
    panel = CheckedCells.of(cells).panel(metric)
    return labels(panel).assign(spread=np.ptp(panel.runs.loss, axis=1))


SPREAD = MeasureTable(
    "spread",
    spread_table,
    title="Spread over seeds",
    caption="Spread over seeds, one row a point",
    columns=(Column("spread", "spread", "highest minus lowest loss, nats", "nats"),),
)
'''

FIGURE = '''
"""How far the seeds of a point lie apart, over lr."""

from hdsens.report.drawing.canvas import new_figure
from hdsens.report.drawing.drawings import Drawing
from hdsens.report.evidence.points import family_points


def spread_drawings(evidence, family, palette):
    """One drawing: a dot a point."""
    rows = family_points(evidence.tables["spread"], family)
    figure = new_figure(3.6, 2.6)
    figure.subplots().plot(rows["lr"], rows["spread"], "o", color=palette.ink)
    yield Drawing(figure, "Do the seeds agree?", f"Spread at {len(rows)} points.")
'''

ASK = """
import re
from pathlib import Path
from report_studies import paper_study, results
from hdsens.report import render, write_figures, write_tables
from hdsens.report.page import render as page

arms = paper_study().model_dump(mode="json")["arms"][:1]
arms[0]["lr"] = [0.01, 0.1]
shown = [results(paper_study(arms=arms, seeds=2, targets={}))]
names = [path.name for path in write_tables(shown, Path("out"))]
names += [path.name for path in write_figures(shown, Path("out"), ["svg"])]
print(*(name for name in names if "spread" in name))
page.packed_vega = str  # the library for curves takes seconds to pack
html = render(shown)
print(*re.findall(r"<h3>Spread[^<]*|<table data-table=.spread.|bowls-spread.csv", html))
print(*re.findall(r"Do the seeds agree|Spread at . points", html))
print(Path("out/bowls-spread.csv").read_text().splitlines()[0])
"""


def test_a_table_and_a_figure_are_added_by_a_file_and_a_line_each(tmp_path: Path) -> None:
    package = tmp_path / "hdsens"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    add(package / "analysis/measures/spread.py", MEASURE)
    edit(
        package / "analysis/measures/catalogue.py",
        before="from hdsens.analysis.measures.table import",
        line="from hdsens.analysis.measures.spread import SPREAD\n",
    )
    edit(package / "analysis/measures/catalogue.py", before="IMPORTANCE)", line="SPREAD, ")
    add(package / "report/drawing/spread.py", FIGURE)
    sides = package / "report/drawing/side_drawings.py"
    edit(
        sides,
        before="from hdsens.report.evidence.arm_settings import",
        line="from hdsens.report.drawing.spread import spread_drawings\n",
    )
    edit(sides, before='    "importance": share_drawings', line='    "spread": spread_drawings,\n')
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent}", "PATH": ""},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "bowls-spread.csv bowls-spread.md bowls-sgd-spread-1.svg",
        '<h3>Spread over seeds <table data-table="spread" bowls-spread.csv',
        "Do the seeds agree Spread at 2 points",
        "task,arm,baseline,lr,hypergrad_lr,spread",
    ]


def add(file: Path, text: str) -> None:
    assert not file.exists()
    file.write_text(text, encoding="utf-8")


def edit(file: Path, *, before: str, line: str) -> None:
    """Put text before the only place where the file says `before`."""
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1
    file.write_text(text.replace(before, line + before), encoding="utf-8")
