"""A pack as a trial of Tune, on a worker."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune

from hdsens.errors import StoppedError
from hdsens.launch.resources import Resources, Safeguards
from hdsens.launch.work import PackWork
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.packs import Pack

REPORT_EVERY_S = 2.0


@dataclass(frozen=True)
class Shared:
    """What all trials have in common, sent once."""

    study: str
    folder: str
    packs: Mapping[str, Pack]
    resources: Resources
    safeguards: Safeguards
    path: Sequence[str]


class PackTrial(tune.Trainable):
    """Trains one pack; each `step` trains for about two seconds and reports counts."""

    def setup(  # type: ignore[override] # how tune.with_parameters hands things over
        self, config: dict[str, Any], shared: Shared
    ) -> None:
        """Take what all trials share, then the trial's own pack."""
        sys.path.extend(p for p in shared.path if p not in sys.path)
        self._shared = shared
        self._study = Study.model_validate_json(shared.study)
        self._store = Store(shared.folder)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack: actors are reused, so that data stay loaded."""
        shared = self._shared
        pack = shared.packs[new_config["pack"]]
        self._work = PackWork(self._study, self._store, pack, shared.resources, shared.safeguards)
        self._steps = self._work.by_steps()
        self._ended: Counter[str] = Counter()
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while; the pack's parts are written with its last cell."""
        deadline = time.monotonic() + REPORT_EVERY_S
        for records in self._steps:
            self._ended.update(record.outcome for record in records)
            if time.monotonic() > deadline:
                return {"ended": dict(self._ended), "done": False}
        try:
            self._work.commit()
        except StoppedError as error:  # no trial could do better: the driver ends the run
            return {"ended": {}, "stopped": str(error), "done": True}
        return {"ended": dict(self._ended), "done": True}

    def cleanup(self) -> None:
        """Keep the finished cells of a pack that was interrupted, and how far the others are."""
        self._steps.close()
        self._work.commit()
