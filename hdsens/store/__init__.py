"""Where results live: `Store` writes and reads the folder, `read_*` give it as frames."""

from hdsens.store.folder import Status, Store
from hdsens.store.frames import Results, read_cells, read_results, read_traces

__all__ = ["Results", "Status", "Store", "read_cells", "read_results", "read_traces"]
