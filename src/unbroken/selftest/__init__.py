"""The fault catalogue: ways in which a resume goes wrong, each injected into a tiny training."""
