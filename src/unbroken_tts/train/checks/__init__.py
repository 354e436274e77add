"""Checks that this trainer adds to those of the library."""
