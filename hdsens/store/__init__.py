"""Where results live: `Store` writes and reads the folder, `read_*` give it as frames."""

from hdsens.store.check import Damage
from hdsens.store.frames import Results, read_cells, read_results, read_traces
from hdsens.store.place import Location, as_location
from hdsens.store.status import Status
from hdsens.store.store import Store

__all__ = [
    "Damage",
    "Location",
    "Results",
    "Status",
    "Store",
    "as_location",
    "read_cells",
    "read_results",
    "read_traces",
]
