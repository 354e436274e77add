"""A run: opened, stepped, saved, closed, and resumed as what it was."""
