"""Turns recordings and their texts into the files that training reads."""
