"""The earlier trainer's curve, for runs that are compared with its own."""

from __future__ import annotations

import math

from unbroken_tts.rescue.earlier_schedule import warmup_cosine_legacy


def test_the_curve_of_the_earlier_trainer() -> None:
    """Legacy begins at 0, has the full rate after `warmup` updates, and ends at 0."""
    factor = warmup_cosine_legacy(4, 8)
    expected = [
        0,
        0.25,
        0.5,
        0.75,
        1.0,
        *(0.5 * (1 + math.cos(math.pi * n / 4)) for n in (1, 2, 3)),
    ]
    assert expected == [factor(n) for n in range(8)]
    assert 0.0 == factor(8)
    assert 1.0 == warmup_cosine_legacy(0, 8)(0)
    assert all(math.isfinite(warmup_cosine_legacy(8, 8)(n)) for n in range(12))
