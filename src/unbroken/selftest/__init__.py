"""The fault catalogue: ways in which a resume goes wrong, each done to a tiny training for real."""
