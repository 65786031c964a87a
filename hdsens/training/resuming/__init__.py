"""What a checkpoint holds, and how training goes on from it."""
