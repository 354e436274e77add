"""A training that is killed over and over ends in the state of one that was not, to the last bit."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support import preloaded
from support.tiny_trainer import environment

KILLS = 20
KILLS_OF_A_SOAK = int(os.environ.get("UNBROKEN_SOAK_KILLS", "3000"))
STORMS_OF_A_SOAK = 6

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")


def storm(directory: Path, kills: int, seed: int) -> str:
    """Run storms; return what they say."""
    return run_script("kill_storm", str(directory), str(kills), str(seed))


def run_script(name: str, *arguments: str) -> str:
    """Run a script of the tests' in a process of its own, which forks; return what it says."""
    done = preloaded.run(f"support.{name}", arguments, environment(), seconds=3400)
    assert 0 == done.returncode, done.stderr[-3000:]
    return done.stdout


@needs_fork
def test_killed_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """20 kills by SIGKILL, most of them in a save: tensors, counters and journal come out equal."""
    said = storm(tmp_path, KILLS, 1)
    with capsys.disabled():
        sys.stdout.write(f"\n{said}")
    assert said.startswith(f"{KILLS} kills")


@needs_fork
def test_killed_while_a_damaged_checkpoint_is_moved_away(tmp_path: Path) -> None:
    """A start that dies at any call of its own leaves the older checkpoint to the next one."""
    said = run_script("deadly_starts", str(tmp_path))
    deaths, word = said.split()
    assert "deaths" == word
    assert int(deaths) > 10


@needs_fork
@pytest.mark.slow
@pytest.mark.timeout(3500)
@pytest.mark.parametrize("seed", range(2, 2 + STORMS_OF_A_SOAK))
def test_killed_thousands_of_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    """The same with thousands of kills (UNBROKEN_SOAK_KILLS)."""
    kills = KILLS_OF_A_SOAK // STORMS_OF_A_SOAK
    said = storm(tmp_path, kills, seed)
    with capsys.disabled():
        sys.stdout.write(f"\n{said}")
    assert said.startswith(f"{kills} kills")
