"""The table of loops that were killed is what the programs do: their own way fails, ours doesn't."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support import preloaded
from support.loops_people_have import NEEDS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
slow = pytest.mark.slow


def started(kind: str, way: str, place: Path, *killed_at: int) -> CompletedProcess[str]:
    """Start a program in a process of its own."""
    words = [kind, way, str(place), *map(str, killed_at)]
    return preloaded.run("support.loops_people_have", words)


def weights(kind: str, way: str, place: Path, *, is_killed: bool) -> str:
    """Return the digest of the weights with which a program ends, killed twice before or not."""
    for at in (5, 7) if is_killed else ():
        assert started(kind, way, place, at).returncode == -9
    ended = started(kind, way, place)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    "kind",
    [
        "nanogpt",
        *(pytest.param(each, marks=slow) for each in ("loop", "accelerate", "lightning")),
        pytest.param("transformers", marks=slow),
    ],
)
def test_killed_it_ends_as_if_it_was_not(kind: str, tmp_path: Path) -> None:
    """With us to the last bit; in its own way with other weights, as the table says."""
    if kind in NEEDS and find_spec(NEEDS[kind]) is None:
        pytest.skip(f"needs {NEEDS[kind]}")
    for way in ("unbroken", "own"):
        whole = weights(kind, way, tmp_path / way / "whole", is_killed=False)
        killed = weights(kind, way, tmp_path / way / "killed", is_killed=True)
        assert (whole == killed) == (way == "unbroken")
