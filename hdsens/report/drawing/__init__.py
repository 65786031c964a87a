"""Numbers -> matplotlib Axes, one module a kind of figure."""
