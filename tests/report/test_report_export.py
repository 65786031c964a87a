"""Figures and tables as files: all of them, in every format, with the analysis' numbers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from report_studies import paper_study, results

from hdsens.analysis import (
    importance,
    regret_table,
    sensitivity_table,
    steps_to_target_table,
    tunability_curve,
    verdict,
)
from hdsens.report import figures, write_figures, write_tables
from hdsens.report.export import as_markdown
from hdsens.store import Results
from hdsens.study import Study
from hdsens.study.columns import RESULT_COLUMNS, TABLE_COLUMNS

RESERVED = RESULT_COLUMNS | TABLE_COLUMNS
STARTS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def small() -> Results:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[0]["name"], arms[1]["baseline"] = "s/g d", "s/g d"
    return results(paper_study(arms=arms, seeds=2, name="small"))


def test_every_figure_is_written(small: Results, tmp_path: Path) -> None:
    paths = write_figures([small], tmp_path / "new" / "figures", ["png"])
    heatmaps = ["train_loss", "valid_loss", "best_valid_loss", "regret", "difference", "lr_final"]
    heatmaps += ["diverged"]
    kinds = ["loss-1", *(f"{name}-1" for name in [*heatmaps, "steps_to_low"])]
    kinds += ["lr-1", "lr-2", "lr-3"]
    kinds += [f"{name}-1" for name in ("window", "seeds", "tuning", "importance")]
    assert [path.name for path in paths] == [f"small-s_g_d-{kind}.png" for kind in kinds]


def test_figures_are_written_in_every_format(tmp_path: Path) -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:1]
    paths = write_figures([results(paper_study(arms=arms, seeds=1))], tmp_path)
    kinds = {path.stem for path in paths}
    assert len(paths) == len(kinds) * len(STARTS) > 5
    for path in paths:
        assert path.read_bytes().startswith(STARTS[path.suffix[1:]])


def test_figures_in_files_wear_plain_colours_and_repeat_themselves(
    small: Results, tmp_path: Path
) -> None:
    one = results(paper_study(arms=small.study.model_dump(mode="json")["arms"][:1], seeds=1))
    first = write_figures([one], tmp_path / "a", ["svg"])
    second = write_figures([one], tmp_path / "b", ["svg"])
    assert len(first) > 5
    for one, other in zip(first, second, strict=True):
        text = one.read_text(encoding="utf-8")
        assert text == other.read_text(encoding="utf-8")
        assert "var(--" not in text
        assert "#0101" not in text


def test_figures_come_as_axes_that_can_be_changed(small: Results, tmp_path: Path) -> None:
    found = dict(figures([small]))
    assert [*found] == [p.stem for p in write_figures([small], tmp_path, ["svg"])]
    ax = found["small-s_g_d-loss-1"]
    assert isinstance(ax, Axes)
    assert ax.get_xlabel() == "initial lr"
    ax.set_title("mine")
    ax.figure.savefig(tmp_path / "mine.svg")


def test_tables_hold_every_digit(small: Results, tmp_path: Path) -> None:
    paths = {path.name: path for path in write_tables([small], tmp_path)}
    expected = {
        "regret": regret_table(small.cells),
        "sensitivity": sensitivity_table(small.cells),
        "tunability": tunability_curve(small.cells),
        "importance": importance(small.cells),
        "steps_to_low": steps_to_target_table(small.cells, "low"),
        "verdict": verdict(small.cells).parts,
    }
    assert set(paths) == {f"small-{name}.{kind}" for name in expected for kind in ("csv", "md")}
    for name, frame in expected.items():
        written = pd.read_csv(paths[f"small-{name}.csv"])
        numbers = frame.select_dtypes("number").astype(float)
        assert len(numbers.columns) > 5
        pd.testing.assert_frame_equal(
            written[numbers.columns], numbers, check_dtype=False, rtol=1e-12
        )
        assert list(written.columns) == list(frame.columns)
        others = set(frame.columns) - set(small.cells.attrs["factors"])
        free = {n for n in others if n not in RESERVED and not n.startswith("steps_to_")}
        assert not free, "a factor may have no such name: TABLE_COLUMNS must hold it"


def test_markdown_writes_each_cell_in_its_column() -> None:
    frame = pd.DataFrame({"a": ["x|y", "new\nline"], "b": [0.123456, None], "c": [1, 20]})
    assert as_markdown(frame).splitlines() == [
        "| a | b | c |",
        "|---|---|---|",
        "| x\\|y | 0.1235 | 1 |",
        "| new line |  | 20 |",
    ]


def test_results_without_a_result_write_nothing(small: Results, tmp_path: Path) -> None:
    study = Study.from_dict(small.study.model_dump(mode="json"))
    empty = results(study, missing=range(1000))
    assert write_figures([empty], tmp_path) == ()
    assert write_tables([empty], tmp_path) == ()
