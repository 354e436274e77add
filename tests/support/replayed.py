"""Steps that are repeated and come out as they had, or otherwise: a replay fed with lines."""

from __future__ import annotations

from functools import partial
from typing import Any

from unbroken.journal.change import MICRO_BATCH_SIZE, EnvironmentChange
from unbroken.journal.past import Reference
from unbroken.replay.arithmetic import Arithmetic
from unbroken.replay.replay import Replay, ReplayVerdict

THREADS = EnvironmentChange("environment.threads", 2, 1)
LAST = 12


def line(step: int, **other: Any) -> dict[str, Any]:
    plain = {
        "step": step,
        "updates": step,
        "epoch": 0,
        "samples": 8,
        "sample_digest": f"digest of {step}",
        "loss": 2.0 + 1 / step,
        "lr": 1e-4 * step,
        "grad_norm": 1.0 + step / 10,
        MICRO_BATCH_SIZE: 4,
    }
    return plain | other


def replay(*changed: EnvironmentChange, last: int = LAST, **options: Any) -> Replay:
    references = {n: Reference(line(n), changed) for n in range(6, last + 1)}
    return Replay(references, 5, **options)


def fed(
    found: Replay, other: dict[int, dict[str, Any]], last: int = LAST, *, drew: bool = False
) -> ReplayVerdict:
    """Feed steps, some of which came out otherwise; return the last verdict."""
    for step in range(6, last + 1):
        found.take(line(step, **other.get(step, {})), drew=drew)
    assert found.verdict is not None
    return found.verdict


def on_card(precision: str, *changed: EnvironmentChange, **options: Any) -> Replay:
    """Return such a replay of a run that is computed on a card."""
    return replay(*changed, arithmetic=partial(Arithmetic, precision, "cuda"), **options)
