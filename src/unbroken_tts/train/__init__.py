"""Training: what the command line's settings become, and the loop that runs on it."""
