"""The record of a run: one line a step, and what a run's past looks like."""
