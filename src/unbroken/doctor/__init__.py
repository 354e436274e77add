"""What journals, curves and checkpoints show of a run's past, and how to repair it."""
