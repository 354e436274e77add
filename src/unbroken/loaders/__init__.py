"""Batches from what a program has already: its own loader, its own sampler, or no loader at all."""
