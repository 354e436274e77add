"""Proof that a resumed run is the run: the journal of its steps."""
