"""The data and the base of the recorded runs of the earlier trainer, written once."""

from __future__ import annotations

import pytest

from support.old_run import OldRuns, write_old_runs


@pytest.fixture(scope="session")
def old_runs(tmp_path_factory: pytest.TempPathFactory) -> OldRuns:
    """Return them; nobody changes them."""
    return write_old_runs(tmp_path_factory.mktemp("old"))
