"""Two results of the same cells: equal, within seed noise, changed, or not there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_studies import paper_study, results

from hdsens.analysis import verdict
from hdsens.report import compare
from hdsens.store import Results


def study_of_one_arm(seeds: int = 3) -> Results:
    arms = paper_study().model_dump(mode="json")["arms"][:1]
    return results(paper_study(arms=arms, seeds=seeds))


def changed(before: Results, lr: float, by: float, column: str = "train_loss") -> Results:
    """The same results with one level's losses moved."""
    cells = before.cells.copy()
    cells.attrs = before.cells.attrs
    cells.loc[cells["lr"] == lr, column] += by
    return Results(before.folder, before.study, cells, before.traces, ())


@pytest.fixture(scope="module")
def before() -> Results:
    return study_of_one_arm()


def test_results_are_the_same_as_themselves_in_any_order(before: Results) -> None:
    shuffled = before.cells.sample(frac=1, random_state=3)
    shuffled.attrs = before.cells.attrs
    found = compare(before, Results(before.folder, before.study, shuffled, before.traces, ()))
    assert found.same
    assert str(found) == "7 points in both: 7 equal, 0 within noise, 0 changed"


def test_a_change_is_weighed_against_the_seeds(before: Results) -> None:
    losses = before.cells.loc[before.cells["lr"] == 0.01, "train_loss"]
    noise = 4.302653 * losses.std() / np.sqrt(3)  # t of 2 degrees of freedom
    small = compare(before, changed(before, 0.01, 0.9 * noise))
    large = compare(before, changed(before, 0.01, 1.1 * noise))
    at = small.points.set_index("lr").loc[0.01]
    assert at["noise"] == pytest.approx(noise, rel=1e-5)
    assert at["change"] == pytest.approx(0.9 * noise)
    assert (small.same, at["outcome"]) == (True, "within noise")
    assert not large.same
    assert large.points["outcome"].value_counts().to_dict() == {"equal": 6, "changed": 1}
    assert str(large).splitlines()[1].startswith("  sgd, lr 0.01: ")


def test_rounding_is_no_change(before: Results) -> None:
    after = changed(before, 0.01, 1e-8)
    assert (compare(before, after).points["outcome"] == "equal").all()


def test_one_seed_has_no_noise_to_hide_behind() -> None:
    before = study_of_one_arm(seeds=1)
    found = compare(before, changed(before, 0.01, 1e-4))
    assert not found.same
    assert "one seed" in str(found)


def test_a_finding_can_flip_where_no_point_changed_by_more_than_noise() -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    before = results(paper_study(arms=arms))
    cells = before.cells.copy()
    cells.attrs = before.cells.attrs
    at = (cells["arm"] == "sgd_hd") & (cells["lr"] == 1.0) & (cells["hypergrad_lr"] == 1e-4)
    noise = 4.302653 * cells.loc[at, "train_loss"].std() / np.sqrt(3)
    cells.loc[at, "train_loss"] += 0.9 * noise
    one, other = (verdict(frame).parts for frame in (before.cells, cells))
    assert one.loc[one["verdict"] != other["verdict"], "part"].tolist() == ["C1"]
    found = compare(before, Results(before.folder, before.study, cells, before.traces, ()))
    assert found.points["outcome"].value_counts().to_dict() == {"equal": 27, "within noise": 1}
    assert (found.same, found.n_findings) == (False, len(one))
    told = "C1 much less sensitive to lr: sgd_hd, hypergrad_lr 1e-4: was supported, is inconclusive"
    assert str(found).splitlines()[-2:] == ["10 findings in both: 1 flipped", f"  {told}"]
    assert "10 findings in both: 0 flipped" in str(compare(before, before))


def test_an_outcome_that_differs_is_a_change_whatever_its_loss(before: Results) -> None:
    after = changed(before, 0.0, 0.0)  # at lr = 0 the loss is the untrained one either way
    row = after.cells.index[(after.cells["lr"] == 0) & (after.cells["seed"] == 1)][0]
    after.cells.loc[row, ["outcome", "train_loss"]] = ["diverged", np.nan]
    found = compare(before, after)
    assert "changed" not in set(found.points["outcome"])
    assert not found.same
    assert "  sgd, lr 0, seed 1: completed to diverged" in str(found).splitlines()


def test_cells_of_one_side_are_counted(before: Results) -> None:
    fewer = before.cells[before.cells["seed"] != 2]
    fewer.attrs = before.cells.attrs
    found = compare(before, Results(before.folder, before.study, fewer, before.traces, ()))
    assert (found.only_before, found.only_after, found.same) == (7, 0, False)
    assert "7 cells with a result in the first only" in str(found)
    nothing = pd.DataFrame(columns=before.cells.columns)
    nothing.attrs = before.cells.attrs
    none = compare(before, Results(before.folder, before.study, nothing, before.traces, ()))
    assert (len(none.points), none.only_before) == (0, 21)


def test_pilot_cells_are_compared_too() -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    study = paper_study(arms=arms, protocol={"pilot_seeds": [20, 21]})
    before = results(study)
    assert compare(before, before).same
    cells = before.cells.copy()
    cells.attrs = before.cells.attrs
    pilot = cells.index[(cells["seed"] == 20) & (cells["lr"] == 0.1) & (cells["arm"] == "sgd")]
    cells.loc[pilot, "train_loss"] += 100.0
    found = compare(before, Results(before.folder, study, cells, before.traces, ()))
    (row,) = found.points[found.points["outcome"] != "equal"].to_dict("records")
    assert (row["arm"], row["lr"], row["n_seeds"]) == ("sgd", 0.1, 5)
    assert row["outcome"] == "changed"
