"""Run a study: inline, or on Ray Tune. This is a place that joins both ends of the road."""

from hdsens.launch.driver import RunSummary, run
from hdsens.launch.resources import Resources, Safeguards

__all__ = ["Resources", "RunSummary", "Safeguards", "run"]
