"""What would be lost at a stop: state that is reachable from a run's objects and in no checkpoint."""
