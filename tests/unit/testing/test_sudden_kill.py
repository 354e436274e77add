"""A process dies at the moment that was named, and its run goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import preloaded
from support.toy_training import build, train
from unbroken import RunDirectory
from unbroken.testing import kill_at
from unbroken.testing.sudden_kill import KILL

STEPS = 7
PROGRAM = """
import sys
from pathlib import Path
from support.toy_training import build, train
from unbroken.testing import kill_at
kill_at(sys.argv[2])
training = build(Path(sys.argv[1]))
train(training, 7)
training.run.close()
"""


def trained(directory: Path) -> list[dict[str, Any]]:
    """Return the steps of a run, without which start trained them."""
    return [each | {"start": 0} for each in RunDirectory(directory).steps().values()]


@pytest.mark.parametrize(
    "moment", ["", "soon", "step", "step:x", "step:1:2", "inside:3", "save:-1:2", "never:0"]
)
def test_a_moment_that_is_none_is_refused(moment: str) -> None:
    """A typing error must not let the training live."""
    with pytest.raises(ValueError, match="is no moment"):
        kill_at(moment)


@pytest.mark.parametrize(
    ("moment", "steps"), [("never", 7), ("step:4", 4), ("inside:5:2", 4), ("save:3:4", 3)]
)
def test_it_dies_then_and_goes_on_exactly(tmp_path: Path, moment: str, steps: int) -> None:
    """The journal ends with the step that was completed last; resumed, it is the whole run's."""
    started = preloaded.run_code(PROGRAM, str(tmp_path / "killed"), moment)
    status = {0} if moment == "never" else {KILL, -KILL}
    assert started.returncode in status, started.stderr
    journal = RunDirectory(tmp_path / "killed").steps()
    # A save is written while training goes on.
    assert steps <= max(journal) <= (STEPS if moment.startswith("save") else steps)
    for name in ("killed", "whole"):
        training = build(tmp_path / name)
        train(training, STEPS)
        training.run.close()
    assert trained(tmp_path / "whole") == trained(tmp_path / "killed")
