"""The record of a run: a journal with one line per step, a history, and how to read them."""
