"""How a run's state reaches the disk and comes back."""
