"""Sentences of our own writing and the offline voice that speaks them for the demo and the tests."""
