"""What changed since the first time is named, and excuses only what it can."""

from __future__ import annotations

from support.replayed import fed, on_card, replay
from unbroken.journal.change import EnvironmentChange, changes
from unbroken.replay.replay import ReplayOutcome


def test_only_facts_that_move_bits_are_changes() -> None:
    """The number of workers isn't one, nor is how the work is cut: the journal tells that."""
    was = {"environment": {"threads": 2}, "execution": {"workers": 1, "batch": 8}}
    now = {"environment": {"threads": 1}, "execution": {"workers": 2, "batch": 4}}
    assert ["environment.threads is 1, was 2"] == [str(each) for each in changes(was, now)]


def test_what_changed_is_named_where_a_step_comes_out_otherwise() -> None:
    """An upgrade and an edit are possible causes, whatever differs first."""
    upgrade = EnvironmentChange("environment.libraries.timm", "1.0", "1.1")
    found = replay(upgrade, also_changed=["environment.files.__main__ is b, was a"])
    reason = fed(found, {6: {"samples": 7}}).reason
    assert "changed since: environment.libraries.timm is 1.1, was 1.0, environment.files" in reason


def test_a_move_to_a_card_that_was_always_there_is_told() -> None:
    """The process saw the card before as well; what it computes on is another thing."""
    found = on_card("fp32", computed_on="cpu")
    near = {6: {"grad_norm": 1.6 * (1 + 7e-6)}}
    verdict = fed(found, near)
    assert ReplayOutcome.EQUIVALENT is verdict.outcome
    assert verdict.reason.endswith("computed on cuda, was on cpu")
    assert ReplayOutcome.DIVERGED is fed(on_card("fp32", computed_on="cuda"), near).outcome
