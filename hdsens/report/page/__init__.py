"""Evidence and drawings -> one self-contained HTML page."""
