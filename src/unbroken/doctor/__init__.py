"""What journals, curves and checkpoints tell of a run's past, and what mends it."""
