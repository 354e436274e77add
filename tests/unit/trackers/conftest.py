from __future__ import annotations

import pytest
import torch

from support.listed_trackers import Listed, Rows
from support.tracked_training import train


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, torch.nn.Module]:
    """What a tracker gets of the run that nobody stops, and its model."""
    tracker = Listed()
    model = train(tmp_path_factory.mktemp("whole"), [tracker])
    return tracker.rows, model
