"""The training program: from settings to a run, and the training loop."""
