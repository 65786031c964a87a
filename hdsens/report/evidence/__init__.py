"""What a page shows, as numbers: gathered once, drawn and written elsewhere."""
