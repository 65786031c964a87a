"""Arrays in, tables out: regret, sensitivity, tunability and the other measures."""
