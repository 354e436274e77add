"""The `unbroken` program, and what every program of ours shares."""
