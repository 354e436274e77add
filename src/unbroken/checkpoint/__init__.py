"""Writes, verifies, finds and deletes checkpoints."""
