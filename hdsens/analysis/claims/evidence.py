"""What claims are decided on: arrays of normalised regret, of an arm beside its baseline.

Arrays end in (n_levels, n_seeds) or (n_seeds,); axes before are studies, decided independently.
The arms share seeds, so that differences are taken seed by seed (paired t). NaN is a seed without a
result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats


@dataclass(frozen=True)
class SettingEvidence:
    """One setting of an arm and of its baseline, over lr.

    Attributes:
        base, arm: (..., n_levels, n_seeds) regret at the nonzero levels that both have.
        base_best, arm_best: (..., n_seeds) regret of each at its own pilot-best nonzero level.
        zero: (..., n_seeds) regret of the arm at lr = 0.
        zero_diverged: (..., n_seeds) 1 where the arm diverged at lr = 0, 0 where it did not.
        base_works: (..., n_levels) whether all pilot seeds of the baseline complete there with a
            mean regret of at most 0.5.
    """

    base: Floats
    arm: Floats
    base_best: Floats
    arm_best: Floats
    zero: Floats
    zero_diverged: Floats
    base_works: NDArray[np.bool_]

    @property
    def gap(self) -> Floats:
        """G, regret given up at the best lr: the arm's minus the baseline's, (..., n_seeds)."""
        return self.arm_best - self.base_best


@dataclass(frozen=True)
class ArmEvidence:
    """All settings of an arm and of its baseline: what tuning them costs.

    Attributes:
        base, arm: (..., n_draws, n_seeds) expected best regret of k draws, k rising.
    """

    base: Floats
    arm: Floats
