"""Two threads on a busy machine: every fresh process computes the same."""

from __future__ import annotations

import json

import pytest

from support import preloaded
from support.tiny_trainer import environment

PRECISIONS = ["fp32", "bf16"]


def results(kind: str, starts: int, steps: int, precision: str, burners: int = 3) -> list[int]:
    """Return how often each different result was seen among so many starts."""
    words = [kind, str(starts), "--steps", str(steps), "--precision", precision]
    done = preloaded.run(
        "support.fresh_processes", [*words, "--burners", str(burners)], environment(), seconds=3400
    )
    assert 0 == done.returncode, done.stderr
    return list(json.loads(done.stdout).values())


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        ("library", "bf16"),
        pytest.param("trainer", "fp32", marks=pytest.mark.slow),
    ],
)
def test_a_few_starts_compute_the_same_steps(kind: str, precision: str) -> None:
    """Four starts of two steps: one journal, one set of weights and moments."""
    assert [4] == results(kind, 4, 2, precision, burners=1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["library", "trainer"])
def test_hundreds_of_starts_compute_the_same_first_step(kind: str, precision: str) -> None:
    """500 starts of one step."""
    assert [500] == results(kind, 500, 1, precision)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["library", "trainer"])
def test_a_hundred_runs_end_with_the_same_bits(kind: str, precision: str) -> None:
    """100 runs of 20 steps."""
    assert [100] == results(kind, 100, 20, precision)
