"""The `unbroken` program, and the framework for programs with commands."""
