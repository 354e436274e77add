"""The verdict of a replay follows from lines alone: exact, equivalent, diverged or unproved."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

from support.replayed import LAST, THREADS, fed, line, on_card, replay
from unbroken.journal.change import DEVICES, MICRO_BATCH_SIZE, EnvironmentChange
from unbroken.journal.past import Reference
from unbroken.replay.arithmetic import Arithmetic
from unbroken.replay.cause import DivergenceCause
from unbroken.replay.replay import Replay, ReplayOutcome
from unbroken.state.facts import ABSENT


def test_equal_steps_are_exact() -> None:
    """Every bit of every step was as the first time, and the sentence counts them."""
    found = replay()
    assert [None] * 6 == [found.take(line(step)) for step in range(6, 12)]
    verdict = found.take(line(12))
    assert "EXACT (7/7 steps: data, loss, gradient, update)" == str(verdict)
    assert found.is_over


def test_equal_steps_are_exact_on_other_threads_too() -> None:
    """An environment that changed nothing takes nothing from the verdict."""
    assert ReplayOutcome.EXACT is fed(replay(THREADS), {}).outcome


def test_nothing_journalled_is_unproved_at_once() -> None:
    """Where there is nothing to repeat, nothing is claimed."""
    found = Replay({}, 5)
    assert str(found.verdict).startswith(
        "UNPROVED (the journal has no step beyond the checkpoint; "
    )
    assert found.take(line(6)) is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"sample_digest": "of others", "lr": 1.0, "loss": 9.0}, "other samples"),
        ({"samples": 7}, "number of samples 7, was 8"),
        (
            {"lr": 1e-4 * 8 * 1.01, "loss": 9.0},
            "another learning rate: 0.000808, was 0.0008 (+1 %)",
        ),
        (
            {"loss": math.nextafter(2.125, 3), "grad_norm": 9.0},
            "another loss with the same samples",
        ),
        ({"loss": math.nan}, "another loss"),
        ({"grad_norm": math.nextafter(1.8, 3)}, "the same loss but another gradient"),
        ({"skipped": True, "updates": 7}, "the update was left out and had been made"),
        ({"updates": 9}, "9 updates were made by then, had been 8"),
    ],
)
def test_one_bit_is_diverged_and_the_first_group_that_differs_is_the_cause(
    other: dict[str, Any], words: str
) -> None:
    """With an equal environment nothing excuses a difference; inputs are named before outputs."""
    verdict = fed(replay(), {8: other})
    assert str(verdict).startswith("DIVERGED at step 8: ")
    assert words in verdict.reason
    assert 3 == verdict.repeated


FINGERPRINT = {
    "weight_sketch": 1.5,
    "buffer_sketch": 2.5,
    "average_sketch": 3.5,
    "modules_in_eval": 0,
}


def traced(step: int, is_as_saved: bool = False, **other: Any) -> str:
    """Return what is said of a run that journals fingerprints, where one step comes out otherwise."""
    lines = {n: line(n, **FINGERPRINT) for n in range(6, LAST + 1)}
    found = Replay({n: Reference(each) for n, each in lines.items()}, 5)
    found.is_as_saved = is_as_saved
    for n, each in lines.items():
        found.take(each | (other if n == step else {}))
    return str(found.verdict)


@pytest.mark.parametrize(
    ("step", "other", "words"),
    [
        (8, {"loss": 9.0}, "the weights are what they were, as far as they are sampled"),
        (6, {"loss": 9.0}, "draw from a generator of its own"),
        (8, {"loss": 9.0, "weight_sketch": 1.6}, "the weights differ, while the losses before"),
        (6, {"loss": 9.0, "weight_sketch": 1.6}, "something changed them after the restore"),
        (8, {"loss": 9.0, "modules_in_eval": 3}, "3 of the modules looked at"),
        (8, {"weight_sketch": 1.6}, "the same loss and gradient, but other weights"),
        (8, {"buffer_sketch": 2.6}, "the same loss and gradient, but other buffers"),
        (8, {"average_sketch": 3.6}, "the same loss and gradient, but other averages"),
        (8, {"modules_in_eval": 1}, "the same loss and gradient, but 1 of the modules"),
        (8, {"grad_norm": 9.0, "average_sketch": 3.6}, "the same loss but another gradient"),
    ],
)
def test_a_fingerprint_tells_weights_from_data(
    step: int, other: dict[str, Any], words: str
) -> None:
    """Another loss with the same weights is not blamed on the update before it, nor the reverse."""
    found = traced(step, **other)
    assert found.startswith(f"DIVERGED at step {step}: ")
    assert words in found


@pytest.mark.parametrize(
    ("step", "other"),
    [
        (6, {"loss": 9.0, "weight_sketch": 1.6}),
        (6, {"average_sketch": 3.6}),
        (8, {"loss": 9.0, "weight_sketch": 1.6}),
    ],
)
def test_a_restore_that_was_exact_is_not_blamed(step: int, other: dict[str, Any]) -> None:
    """Where the live state was the saved one, it was spoiled before, or something else acts."""
    found = traced(step, is_as_saved=True, **other)
    assert "after the restore" not in found
    assert "the checkpoint was spoiled when it was saved" in found


def test_where_weights_and_samples_are_the_same_what_no_checkpoint_holds_is_asked_for() -> None:
    """Neither the content of the weights nor dropout, whose masks follow from the position."""
    found = traced(6, is_as_saved=True, loss=9.0)
    assert "augment samples at random" in found
    assert "not declared to Run(...)" in found
    assert "dropout" not in found
    assert "--" not in found


def test_a_journal_without_traces_is_compared_without_them() -> None:
    """One that an older version wrote tells less, and is not taken for another training."""
    found = replay()
    for n in range(6, LAST + 1):
        found.take(line(n, **FINGERPRINT))
    assert "EXACT (7/7 steps: data, loss, gradient, update)" == str(found.verdict)


def test_rounding_moves_traces_too() -> None:
    """Where the environment changed, the loss decides: statistics differ with the cut, for one."""
    lines = {n: line(n, **FINGERPRINT) for n in range(6, LAST + 1)}
    found = Replay({n: Reference(each, (THREADS,)) for n, each in lines.items()}, 5)
    for each in lines.values():
        found.take(each | {"buffer_sketch": 2.75, "weight_sketch": 1.5 + 1e-7})
    assert found.verdict is not None
    assert ReplayOutcome.EQUIVALENT is found.verdict.outcome


def test_the_step_is_shown_with_thousands() -> None:
    """The number is readable."""
    found = Replay({3512: Reference(line(3512))}, 3511)
    assert "DIVERGED at step 3,512: another loss" in str(found.take(line(3512, loss=9.0)))


def test_a_later_loss_points_to_the_update_before_it() -> None:
    """The first repeated loss tells of weights, a later one of what happened since."""
    first, later = (fed(replay(), {n: {"loss": 9.0}}).reason for n in (6, 8))
    assert "weights" in first
    assert "optimizer state" in later


def test_partial_gradients_are_named_where_there_were_some() -> None:
    """Only the first step after a checkpoint inside a step can have lost them."""
    verdict = fed(replay(inside_step=True), {6: {"grad_norm": 9.0}})
    assert "partial gradients" in verdict.reason
    assert "partial gradients" not in fed(replay(), {6: {"grad_norm": 9.0}}).reason


def test_rounding_with_a_named_change_is_equivalent() -> None:
    """Five steps decide within the bound; later ones are shown."""
    found = replay(THREADS)
    near = {n: {"loss": (2 + 1 / n) * (1 + 1e-7)} for n in range(6, 11)}
    far = {n: {"loss": (2 + 1 / n) * 1.001} for n in (11, 12)}
    assert found.take(line(6, **near[6])) is None
    assert ReplayOutcome.EQUIVALENT is fed(replay(THREADS), near, 10).outcome
    text = str(fed(replay(THREADS), near | far))
    assert text.startswith("EQUIVALENT (7/7 steps: data and learning rate equal; loss 1.0e-07")
    assert "later up to loss 1.0e-03" in text
    assert text.endswith("; environment.threads is 1, was 2)")


@pytest.mark.parametrize(
    "other", [{"lr": 1e-4 * 6 * 1.01}, {"loss": 2.0}, {"grad_norm": 1.61}, {"skipped": True}]
)
def test_a_change_excuses_no_more_than_rounding(other: dict[str, Any]) -> None:
    """One per cent is never equivalent, whatever of the environment changed."""
    for changed in (THREADS, EnvironmentChange("environment.processor", "a", "b")):
        assert ReplayOutcome.DIVERGED is fed(replay(changed), {6: other}).outcome


@pytest.mark.parametrize("other", [{"lr": 0.5}, {"sample_digest": "x"}])
def test_inputs_stay_exact_after_the_deciding_steps(other: dict[str, Any]) -> None:
    """However late, other data or another rate is another training."""
    near = {n: {"loss": (2 + 1 / n) * (1 + 1e-7)} for n in range(6, 11)}
    assert ReplayOutcome.DIVERGED is fed(replay(THREADS), near | {12: other}).outcome


def test_after_another_skip_the_rates_are_no_longer_compared() -> None:
    """An overflow on the edge may fall to the other side late in a replay; the rate follows it."""
    near = {n: {"loss": (2 + 1 / n) * (1 + 1e-7)} for n in range(6, 11)}
    skip: dict[int, dict[str, Any]] = {
        11: {"skipped": True, "updates": 10},
        12: {"updates": 11, "lr": 1e-4 * 11},
    }
    assert ReplayOutcome.EQUIVALENT is fed(replay(THREADS), near | skip).outcome


OTHER_CARD = EnvironmentChange(DEVICES, ["NVIDIA L4"], ["NVIDIA A100"])
NO_CARD = EnvironmentChange(DEVICES, ["NVIDIA L4"], [])
A_CARD = EnvironmentChange(DEVICES, [], ["NVIDIA L4"])


@pytest.mark.parametrize(
    ("changed", "arithmetic"),
    [
        (OTHER_CARD, Arithmetic("fp32", "xpu")),
        (OTHER_CARD, Arithmetic("fp32", "cpu")),
        (A_CARD, Arithmetic("tf32", "cuda")),
        (NO_CARD, Arithmetic("tf32", "cpu")),
        (EnvironmentChange(DEVICES, ABSENT, ["NVIDIA L4"]), Arithmetic("fp32", "cuda")),
        (EnvironmentChange("environment.matmul_precision", "high", "highest"), Arithmetic()),
    ],
)
def test_what_was_never_measured_is_unproved(
    changed: EnvironmentChange, arithmetic: Arithmetic
) -> None:
    """Without a bound nothing is called equivalent, and what is missing is named."""
    near = {6: {"loss": (2 + 1 / 6) * (1 + 1e-7)}}
    verdict = fed(replay(changed, arithmetic=lambda: arithmetic), near)
    assert ReplayOutcome.UNPROVED is verdict.outcome
    assert f"was never measured for {arithmetic} with {changed}" in verdict.reason


@pytest.mark.parametrize(
    ("precision", "rounding"), [("fp32", 4e-7), ("tf32", 5e-6), ("bf16", 1.1e-4), ("fp16", 8e-6)]
)
def test_rounding_on_a_card_is_equivalent(precision: str, rounding: float) -> None:
    """What an H100 did with another cut, or as another card would, is no fault; 1 % is one."""
    near = {n: {"loss": (2 + 1 / n) * (1 + rounding)} for n in range(6, 11)}
    cut = {n: each | {MICRO_BATCH_SIZE: 2} for n, each in near.items()}
    assert ReplayOutcome.EQUIVALENT is fed(on_card(precision), cut, 10).outcome
    assert ReplayOutcome.DIVERGED is fed(on_card(precision), cut | {8: {"loss": 2.2}}, 10).outcome
    verdict = fed(on_card(precision, OTHER_CARD), near, 10)
    assert ReplayOutcome.EQUIVALENT is verdict.outcome
    assert "NVIDIA L4 -> NVIDIA A100" in verdict.reason
    assert ReplayOutcome.DIVERGED is fed(on_card(precision, OTHER_CARD), {6: {"loss": 2.2}}).outcome


@pytest.mark.parametrize(("device", "changed"), [("cpu", NO_CARD), ("cuda", A_CARD)])
def test_the_processor_instead_of_a_card_is_equivalent(
    device: str, changed: EnvironmentChange
) -> None:
    """It was measured with a card's steps repeated on the processor, and holds in both directions."""
    near = {n: {"grad_norm": (1 + n / 10) * (1 + 7e-6)} for n in range(6, 11)}
    for precision in ("fp32", "bf16"):
        found = replay(changed, arithmetic=partial(Arithmetic, precision, device))
        assert ReplayOutcome.EQUIVALENT is fed(found, near, 10).outcome


def test_a_processor_is_allowed_no_more_than_was_measured_on_it() -> None:
    """A card's bounds for another cut are wider, and are not its own."""
    off = {6: {"loss": (2 + 1 / 6) * (1 + 4e-6), MICRO_BATCH_SIZE: 2}}
    assert ReplayOutcome.DIVERGED is fed(replay(), off).outcome
    assert ReplayOutcome.EQUIVALENT is fed(on_card("fp32"), off).outcome


def test_where_a_model_lies_is_asked_when_it_is_judged() -> None:
    """After a resume it may still be moved to a card, with bounds of its own."""
    place = ["cpu"]
    found = replay(arithmetic=lambda: Arithmetic("fp32", place[0]))
    place[0] = "cuda"
    off = {6: {"loss": (2 + 1 / 6) * (1 + 4e-6), MICRO_BATCH_SIZE: 2}}
    assert ReplayOutcome.EQUIVALENT is fed(found, off).outcome


@pytest.mark.parametrize(
    ("drew", "outcome"), [(True, ReplayOutcome.UNPROVED), (False, ReplayOutcome.DIVERGED)]
)
def test_another_cut_excuses_other_masks_only(
    drew: bool, outcome: ReplayOutcome
) -> None:  # a parameter of the test
    """Where random numbers were drawn a loss can't be compared; where none were, it can."""
    verdict = fed(replay(), {6: {"loss": 2.2, MICRO_BATCH_SIZE: 2}}, drew=drew)
    assert outcome is verdict.outcome
    assert "micro-batches of 2, were 4" in verdict.reason


def test_what_was_accepted_takes_the_journal_its_force() -> None:
    """A difference is told, but it is no fault; equal steps are exact all the same."""
    why = "accepted: settings-unchanged"
    assert why in fed(replay(why_unproved=why), {6: {"lr": 1.0}}).reason
    assert ReplayOutcome.UNPROVED is fed(replay(why_unproved=why), {6: {"lr": 1.0}}).outcome
    assert ReplayOutcome.EXACT is fed(replay(why_unproved=why), {}).outcome


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        ({6: {"sample_digest": "of others"}}, DivergenceCause.SAMPLES),
        ({6: {"lr": 1.0}}, DivergenceCause.RATE),
        ({6: {"loss": 9.0}}, DivergenceCause.LOSS),
        ({6: {"grad_norm": 9.0}}, DivergenceCause.GRADIENT),
        ({6: {"updates": 9}}, DivergenceCause.UPDATE),
        # The step before came out equal, so only what was done after it can be the cause.
        ({7: {"loss": 9.0}}, DivergenceCause.UPDATE),
        ({}, None),
    ],
)
def test_the_cause_is_data(other: dict[int, dict[str, Any]], cause: DivergenceCause | None) -> None:
    """What a difference speaks for can be read without parsing the sentence."""
    assert cause is fed(replay(), other).cause
    assert cause is fed(replay(why_unproved="accepted"), other).cause


def test_training_that_ends_early_concludes_from_what_it_repeated() -> None:
    """A stop in the midst of the replay leaves a verdict on the steps it made.

    An update shows in the weights of the step after it: one step alone proves none.
    """
    found = replay()
    found.take(line(6))
    assert "EXACT (1/7 steps: data, loss, gradient)" == str(found.finish())
    found = replay()
    for number in (6, 7):
        found.take(line(number))
    assert "EXACT (2/7 steps: data, loss, gradient, update)" == str(found.finish())


def test_what_is_not_finite_is_equal_to_how_it_was_written() -> None:
    """The journal keeps it as text; the live value is a number."""
    written = line(6, loss="nan", grad_norm="inf", lrs={"optimizer.1": "nan"})
    found = Replay({6: Reference(written)}, 5)
    live = line(6, loss=math.nan, grad_norm=math.inf, lrs={"optimizer.1": math.nan})
    verdict = found.take(live)
    assert verdict is not None
    assert ReplayOutcome.EXACT is verdict.outcome
