from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.format_1 import as_format
from support.recorded_run import Training


@pytest.fixture(scope="module", params=[1, 2])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint, of either format."""
    training = Training(tmp_path_factory.mktemp("hostile") / "run")
    training.train(1)
    as_format(request.param, training.run.save())
    training.run.close()
    return training.run.layout.root


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(original, tmp_path / "run"))
