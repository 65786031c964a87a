"""A pack as a trial of Tune, on a worker."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune

from hdsens.errors import StoppedError
from hdsens.launch.resources import Resources, Safeguards
from hdsens.launch.work import Workbench
from hdsens.store import Store
from hdsens.study import Study

REPORT_EVERY_S = 2.0


@dataclass(frozen=True)
class Shared:
    """What all trials share; Ray sends it once."""

    study: str
    folder: str
    resources: Resources
    safeguards: Safeguards
    import_path: Sequence[str]


class PackTrial(tune.Trainable):
    """Trains one pack; each `step` trains for about two seconds and reports counts."""

    def setup(  # type: ignore[override] # how tune.with_parameters hands things over
        self, config: dict[str, Any], shared: Shared
    ) -> None:
        """Set up the workbench that all trials of this worker share, then the first pack."""
        sys.path.extend(p for p in shared.import_path if p not in sys.path)
        study, store = Study.from_json(shared.study), Store(shared.folder)
        self._bench = Workbench(study, store, shared.resources, shared.safeguards)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin the next pack on this worker, where the data stay loaded."""
        self._work = self._bench.begin(ray.get(new_config["pack"]))
        self._ended: Counter[str] = Counter()
        return True

    def step(self) -> dict[str, Any]:
        """Train for `REPORT_EVERY_S`, and report; the last cell's end writes the pack's parts."""
        try:
            self._ended += self._work.advance(REPORT_EVERY_S)
        except StoppedError as error:  # no trial could do better: the driver ends the run
            return {"ended": {}, "stopped": str(error), "done": True}
        return {"ended": dict(self._ended), "done": self._work.is_over}

    def cleanup(self) -> None:
        """Store an interrupted pack's finished cells, and a checkpoint of the others."""
        self._work.close()
