"""Regret averaged over the levels of lr that a family's arms share, so that arms compare."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdsens.analysis.measures.regret import interval_columns, panel_regret
from hdsens.analysis.measures.sensitivity import mean_over_levels
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.settings import settings


def over_common_levels(cells: CellsLike, metric: str, table: pd.DataFrame) -> pd.DataFrame:
    """`table` (of `sensitivity_table`, one task) with regret_mean over common nonzero levels.

    Common are the levels at which every setting of the family was run. The column `n_common` counts
    them, `n_uncommon` those of the family besides; a family without any has null.
    """
    panel = CheckedCells.of(cells).panel(metric)
    found = settings(panel, "lr")
    regret = panel_regret(panel, "family")
    rows = []
    for one in found:
        kin = [s.levels for s in found if s.family == one.family]
        common = [level for level in one.levels if all(level in levels for levels in kin)]
        shared = one.rows[np.isin(one.levels, common)]
        mean = interval_columns("regret_mean", mean_over_levels(regret[shared]))
        every = np.unique(np.concatenate(kin))
        rows.append({**mean, "n_common": len(common), "n_uncommon": len(every) - len(common)})
    return table.assign(**pd.DataFrame(rows, index=table.index))
