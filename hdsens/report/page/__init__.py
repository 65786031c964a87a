"""Evidence and drawings become one self-contained HTML page."""
