"""A run that does not repeat itself is judged by its own noise, and by no more than that."""

from __future__ import annotations

import math

from support.replayed import fed, line, replay
from unbroken.replay.noise import Noise
from unbroken.replay.replay import Replay, ReplayOutcome


def noisy(noise: float) -> Replay:
    return replay(noise=lambda: Noise(gradient=noise))


def test_noise_that_was_measured_is_equivalent_within_its_bound() -> None:
    """A hundred times the noise of one pass, or what other kernels may do; never one per cent."""
    off = {6: {"grad_norm": 1.6 * (1 + 4e-5)}}
    text = str(fed(noisy(5e-7), off))
    assert text.startswith("EQUIVALENT (this run does not repeat itself: 5.0e-07; 7/7 steps: data")
    assert ReplayOutcome.DIVERGED is fed(noisy(1e-7), off).outcome
    for noise in (1e-7, 1e-3):
        assert ReplayOutcome.DIVERGED is fed(noisy(noise), {6: {"grad_norm": 1.616}}).outcome
    assert ReplayOutcome.EXACT is fed(noisy(1e-7), {}).outcome


def test_what_would_end_the_noise_is_named_where_it_was_tried() -> None:
    """Deterministic algorithms help against some kernels, and against nothing of one's own."""
    found = replay(noise=lambda: Noise(gradient=3.1e-7, deterministic_repeats=True))
    verdict = fed(found, {6: {"grad_norm": 1.6 * (1 + 1e-7)}})
    assert verdict.reason.startswith(
        "this run does not repeat itself: 3.1e-07; torch.use_deterministic_algorithms(True) would; "
    )


def test_what_may_be_noise_and_was_not_measured_is_unproved() -> None:
    """Neither another training nor none: nobody knows."""
    last_digit = {8: {"loss": math.nextafter(2.125, 3)}}
    verdict = fed(replay(noise=lambda: None), last_digit)
    assert ReplayOutcome.UNPROVED is verdict.outcome
    assert "could not be measured" in verdict.reason
    assert ReplayOutcome.DIVERGED is fed(replay(noise=lambda: None), {8: {"loss": 2.2}}).outcome


def passes(*grad_norms: float) -> str:
    """Return what a replay comes to whose second step is repeated from the checkpoint."""
    found = replay(last=7)
    found.can_repeat = True
    for norm in grad_norms:
        found.take(line(6))
        found.take(line(7, grad_norm=norm))
        if not found.asks_to_repeat:
            break
        found.begin_again()
    return str(found.verdict)


def test_steps_are_repeated_to_see_whether_they_repeat() -> None:
    """A last digit that every pass gives is another training; one that comes and goes is noise."""
    a, b, c = 1.7, 1.7 * (1 + 1e-7), 1.7 * (1 + 2e-7)
    assert passes(a) == "EXACT (2/2 steps: data, loss, gradient, update)"
    assert passes(b, c).startswith("EQUIVALENT (this run does not repeat itself: 1.0e-07")
    assert passes(b, b, b, c).startswith("EQUIVALENT (this run does not repeat itself")
    assert passes(b, a).startswith("EXACT")
    assert passes(b, b, b, b).startswith("DIVERGED at step 7: the same loss but another gradient")
    assert "the loop goes on with what follows" in passes(b, 2.5)
