"""Learning rates and the loss scale are compared before what comes out of a step."""

from __future__ import annotations

import math
from typing import Any

import pytest

from support.replayed import LAST, line
from unbroken.journal.line import RATES, SCALE
from unbroken.journal.past import Reference
from unbroken.replay.replay import Replay


def test_a_loop_without_a_rate_has_no_other_rate() -> None:
    """Not a number is no rate: one that never tells it is compared by the rest."""
    lines = {n: line(n, lr=math.nan, grad_norm=math.nan) for n in range(6, LAST + 1)}
    found = Replay({n: Reference({**each, "lr": "nan"}) for n, each in lines.items()}, 5)
    for each in lines.values():
        found.take(each)
    assert "EXACT (7/7 steps: data, loss, gradient, update)" == str(found.verdict)
    found = Replay({6: Reference({**lines[6], "lr": "nan"})}, 5)
    assert "another loss" in str(found.take(lines[6] | {"loss": 9.0}))


@pytest.mark.parametrize(
    ("name", "was", "now", "words"),
    [
        (
            RATES,
            {"a": 0.1, "b": 0.2},
            {"a": 0.1, "b": 0.3},
            "another learning rate of b: 0.3, was 0.2",
        ),
        (SCALE, 65536.0, 32768.0, "another loss scale: 32768, was 65536"),
    ],
)
def test_every_rate_and_the_loss_scale_are_compared_at_every_step(
    name: str, was: Any, now: Any, words: str
) -> None:
    """A second group's schedule, or a scaler that begins anew, shows before any loss does."""
    found = Replay({n: Reference(line(n, **{name: was})) for n in (6, 7)}, 5)
    assert found.take(line(6, **{name: was})) is None
    assert words in str(found.take(line(7, **{name: now})))
    older = Replay({6: Reference(line(6))}, 5)
    assert "EXACT" in str(older.take(line(6, **{name: now})))
