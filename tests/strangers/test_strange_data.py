"""Data sets of other people: what is not finite is refused, in any split."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from strange import blobs, declare

from hdsens import InputError
from hdsens.training.check import check_data_again


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("part", "rows"), [("train", 96), ("test", 16)])
def test_numbers_that_are_not_finite_are_refused_with_array_rows_and_count(part, rows, bad):
    inputs = getattr(blobs(), f"{part}_inputs").copy()
    inputs[[3, 7], [2, 11]] = bad
    told = (
        f"data: {part}_inputs must be finite, which 2 of its {rows} rows are not: 3, 7; "
        "mend these rows or leave them out"
    )
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        replace(blobs(), **{f"{part}_inputs": inputs})


def test_of_many_rows_that_are_not_finite_some_are_named():
    with pytest.raises(InputError, match=r"which 96 of its 96 rows are not: 0, 1, 2, 3, 4, …;"):
        replace(blobs(), train_inputs=blobs().train_inputs * np.float32(np.nan))


def test_a_masked_array_is_refused():
    """Its mask would hide rows that are not finite from every check."""
    masked = np.ma.masked_invalid(blobs().train_inputs)
    told = r"^data: train_inputs must be a NumPy array of float32.* \(got 'a masked array'\)$"
    with pytest.raises(InputError, match=told):
        replace(blobs(), train_inputs=masked)


def test_a_factory_that_gives_other_data_at_each_call_is_refused():
    study = declare(data="other_each_time")
    with pytest.raises(InputError) as caught:
        check_data_again(study)
    assert str(caught.value) == (
        "study 's': task: data set 'strange:other_each_time' must give the same data at each call, "
        "but two calls differ; draw from a generator that the factory makes with a fixed seed"
    )
    check_data_again(declare())
