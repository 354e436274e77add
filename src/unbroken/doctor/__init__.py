"""Diagnoses past runs from journals, curves and checkpoints, and repairs checkpoints."""
