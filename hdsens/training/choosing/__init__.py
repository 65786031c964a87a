"""Which cells train together and how: by trying it and measuring."""
