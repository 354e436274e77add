"""What holds for all tests: no time limit per example, and failures that can be run again."""

from __future__ import annotations

from hypothesis import settings

# Machines that run the tests are shared: an example that takes long says nothing about the code.
settings.register_profile("unbroken", deadline=None, print_blob=True)
settings.load_profile("unbroken")
