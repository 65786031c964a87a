"""The families of a frame of cells; what a family is stands in `hdsens.study.families`."""

from __future__ import annotations

import pandas as pd

from hdsens.study.families import Family, Side, families, families_of_study, family_name

__all__ = [
    "Family",
    "Side",
    "families",
    "families_of_cells",
    "families_of_study",
    "family_name",
]


def families_of_cells(cells: pd.DataFrame) -> tuple[Family, ...]:
    """The families of a frame's `arm` and `baseline` columns, by the order in which arms occur.

    A null or empty baseline is none.
    """
    pairs = cells[["arm", "baseline"]].drop_duplicates("arm")
    return families(
        {
            str(arm): str(base) if isinstance(base, str) and base else None
            for arm, base in pairs.itertuples(index=False)
        }
    )
