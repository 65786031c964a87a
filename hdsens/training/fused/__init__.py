"""Many cells in one program, with the numbers of the plain loop."""
