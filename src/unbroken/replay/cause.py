"""What brought a repeated step to another end: inputs are looked at before outputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from unbroken.journal.line import FIRST, JournalLine, relative_difference
from unbroken.state.fingerprint import AVERAGES, BUFFERS, KEPT, MODES, WEIGHTS


class DivergenceCause(StrEnum):
    """What changed, as far as a step that came out otherwise tells."""

    SAMPLES = "samples"
    RATE = "rate"
    LOSS = "loss"
    GRADIENT = "gradient"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Divergence:
    """What a repeated step does not have in common with the first time."""

    cause: DivergenceCause
    sentence: str
    """What differs, with the numbers, and what that tells."""


_OF_FINGERPRINT: Final[dict[str, tuple[str, str]]] = {
    WEIGHTS: (
        "weights",
        "the update after the step before ({update}) or what else writes to them",
    ),
    BUFFERS: ("buffers", "what moves them (running statistics, their momentum)"),
    AVERAGES: ("averages", "what updates the models that no optimizer trains"),
    KEPT: ("tensors of its parts", "what updates them (an average, a table)"),
}
"""What each number of a fingerprint is of, and what moves it."""

_SPOILED: Final = "the checkpoint was spoiled when it was saved"
_OUTSIDE: Final = (
    "the weights are what they were, as far as they are sampled, and the samples have the same names: "
    "something that no checkpoint holds is not. Does a worker augment samples at random, does the loop "
    "draw from a generator of its own, does an object act that was not declared to Run(...), or did the "
    "code or a setting of the model, the loss or the samples change?"
)
"""What to ask where all that was restored and compared is as it was."""


def of_inputs(
    was: JournalLine, now: JournalLine, digits: float, *, compares_rates: bool
) -> Divergence | None:
    """Say which input of a step differs first; None where all are equal.

    Args:
        was: How the step came out the first time.
        now: How it comes out now.
        digits: Largest relative difference of a learning rate that counts as equal.
        compares_rates: Whether the same updates were made so far, so that rates can be compared.
    """
    if was.data != now.data:
        return of_data(was, now)
    if not was.holds_as(now):
        return of_content()
    if was.is_given_up != now.is_given_up:
        return of_giving_up(now)
    if compares_rates:
        for group in was.other_rates(now):
            if relative_difference(was.rates[group], now.rates[group]) > digits:
                return of_rate(was, now, group)
        if not was.is_scaled_as(now):
            return of_scale(was, now)
    return None


def of_data(was: JournalLine, now: JournalLine) -> Divergence:
    """Say that other samples were used."""
    names = ("epoch", "number of samples", "samples")
    parts = [
        f"{name} {_short(b)}, was {_short(a)}"
        for name, a, b in zip(names, was.data, now.data, strict=True)
        if a != b
    ]
    return Divergence(
        DivergenceCause.SAMPLES,
        f"other samples ({'; '.join(parts)}): the data set, its order or the position changed",
    )


def of_content() -> Divergence:
    """Say that samples of the same names held something else."""
    return Divergence(
        DivergenceCause.SAMPLES,
        "other content of the samples, under the same names: a file or an array was changed, or the "
        "data set draws from what can't be set (the clock, the system, a state of its own in a worker)",
    )


def of_giving_up(now: JournalLine) -> Divergence:
    """Say that a step was given up at one of both times only."""
    did, had = (
        ("was given up", "had been made") if now.is_given_up else ("was made", "had been given up")
    )
    return Divergence(
        DivergenceCause.UPDATE,
        f"the same samples, but the step {did} and {had}: what failed then (memory, a sample, the "
        "loop's own condition) is not what it was",
    )


def of_rate(was: JournalLine, now: JournalLine, group: str = FIRST) -> Divergence:
    """Say that the same samples were trained with another learning rate."""
    a, b = was.rates[group], now.rates[group]
    of_group = f" of {group}" if group else ""
    return Divergence(
        DivergenceCause.RATE,
        f"another learning rate{of_group}: {_figure(b)}, was {_figure(a)}"
        f"{_percent(a, b)}; same samples: the schedule or its counter changed",
    )


def of_scale(was: JournalLine, now: JournalLine) -> Divergence:
    """Say that the loss was scaled otherwise."""
    return Divergence(
        DivergenceCause.GRADIENT,
        f"another loss scale: {_figure(now.scale)}, was {_figure(was.scale)}; same samples and "
        "learning rate: the gradient scaler, or its count of updates, is not what it was",
    )


def of_outputs(
    was: JournalLine,
    now: JournalLine,
    *,
    is_first: bool,
    inside_step: bool,
    is_rounded: bool = False,
    is_as_saved: bool = False,
) -> Divergence:
    """Say which of loss, gradient and update differ first, and what that tells.

    Args:
        was: How the step came out the first time; samples and rate are equal.
        now: How it comes out now.
        is_first: Whether it is the first step after the checkpoint.
        inside_step: Whether the checkpoint holds partial gradients of this very step.
        is_rounded: Whether the environment moves the last bits, so that other weights tell nothing.
        is_as_saved: Whether the state was the checkpoint's, to the last bit, just before the first step.
    """
    others = was.other_losses(now)
    if others:
        name = "loss" if "loss" in others else others[0]
        a, b = was.losses[name], now.losses[name]
        found = f"another loss with the same samples and learning rate: {name} {_figure(b)}, was "
        tells = _of_loss(
            was, now, is_first=is_first, is_rounded=is_rounded, is_as_saved=is_as_saved
        )
        return Divergence(tells.cause, f"{found}{_figure(a)}{_percent(a, b)}; {tells.sentence}")
    if relative_difference(was.gradient, now.gradient):
        return _of_gradient(was, now, has_partial=is_first and inside_step)
    fingerprint = was.differing_fingerprints(now)
    if not fingerprint:
        return of_update(was, now)
    return _of_fingerprint(fingerprint[0], was, now, is_spoiled=is_first and is_as_saved)


def _of_gradient(was: JournalLine, now: JournalLine, *, has_partial: bool) -> Divergence:
    """Say that the gradient differs: in its size alone, or in its direction."""
    found = f"{'the same loss but ' if was.losses else ''}another gradient: norm {_figure(now.gradient)}, was "
    found += f"{_figure(was.gradient)}{_percent(was.gradient, now.gradient)}"
    if was.is_factor_of(now):
        why = (
            "in the same direction: gradient clipping (max_norm), a factor of the loss, the number of "
            "batches that an update gathers, or the loss scaler changed"
        )
        return Divergence(DivergenceCause.GRADIENT, f"{found}, {why}")
    why = "the backward pass, the loss scaler"
    why += ", gradient clipping" if was.is_clipped else ""
    why += " or the partial gradients" if has_partial else ""
    return Divergence(DivergenceCause.GRADIENT, f"{found}; {why} changed")


def _of_fingerprint(
    name: str, was: JournalLine, now: JournalLine, *, is_spoiled: bool
) -> Divergence:
    """Say what else is not what it was where loss and gradient are the same."""
    a, b = was.fingerprint[name], now.fingerprint[name]
    if name == MODES:
        found = f"the same loss and gradient, but {_modes(was, now)}"
        return Divergence(DivergenceCause.UPDATE, found)
    what, why = _OF_FINGERPRINT[name]
    why = why.format(update=_in_update(was))
    why = f"{_SPOILED}, or {why}" if is_spoiled else why
    return Divergence(
        DivergenceCause.UPDATE,
        f"the same loss and gradient, but other {what}: a sample of them has the norm {_figure(b)}, "
        f"was {_figure(a)}{_percent(a, b)}; {why} is not what it was",
    )


def _modes(was: JournalLine, now: JournalLine) -> str:
    return (
        f"{now.fingerprint[MODES]} of the modules looked at (the model, dropouts, batch norms) are in "
        f"evaluation mode, had been {was.fingerprint[MODES]}"
    )


def of_update(was: JournalLine, now: JournalLine) -> Divergence:
    """Say that only what was done with the gradient differs."""
    if was.update[0] != now.update[0]:
        did, had = ("left out" if each.update[0] else "made" for each in (now, was))
        found = f"the same loss and gradient, but the update was {did} and had been {had}"
    else:
        found = (
            f"the same loss and gradient, but {now.update[1]} updates were made by then, "
            f"had been {was.update[1]}: a counter changed"
        )
    return Divergence(DivergenceCause.UPDATE, found)


def _of_loss(
    was: JournalLine, now: JournalLine, *, is_first: bool, is_rounded: bool, is_as_saved: bool
) -> Divergence:
    """Say what can bring about another loss: modes and weights first, where the journal tells them."""
    fingerprint = was.differing_fingerprints(now)
    if MODES in fingerprint:
        return Divergence(DivergenceCause.LOSS, _modes(was, now))
    if is_first and WEIGHTS in fingerprint and is_as_saved:
        told = (
            "the weights differ, and just before this step they were the checkpoint's to the last bit: "
            f"{_SPOILED}, or this step of the loop changes them"
        )
        return Divergence(DivergenceCause.LOSS, told)
    if is_first and WEIGHTS in fingerprint:
        told = "the weights differ: something changed them after the restore"
        return Divergence(DivergenceCause.LOSS, told)
    is_told = WEIGHTS in was.fingerprint.keys() & now.fingerprint.keys()
    if is_first and not is_told:
        told = "weights, model, content of the samples or dropout are not what they were"
        return Divergence(DivergenceCause.LOSS, told)
    if not is_first and (is_rounded or not is_told):
        return Divergence(
            DivergenceCause.UPDATE,
            f"the steps before gave the same result: the update after them ({_in_update(was)}), the "
            "content of these samples or dropout is not what it was",
        )
    if WEIGHTS in fingerprint:
        told = (
            "the weights differ, while the losses before were the same: the update after them "
            f"({_in_update(was)}), or what else writes to them, is not what it was"
        )
        told += f". The optimizer state was the checkpoint's: {_SPOILED}" if is_as_saved else ""
        told += ", or what is not declared to Run(...) acts on the update" if is_as_saved else ""
        return Divergence(DivergenceCause.UPDATE, told)
    return Divergence(DivergenceCause.LOSS, _OUTSIDE)


def _in_update(was: JournalLine) -> str:
    """Name what an update makes of a gradient, from where the journal tells it."""
    return "optimizer state, weight decay" + ("" if was.is_clipped else ", gradient clipping")


def _figure(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 12 else f"{text[:8]}…"


def _percent(was: Any, now: Any) -> str:
    share = relative_difference(was, now)
    if share == float("inf"):
        return ""
    sign = "+" if now > was else "-"
    return f" ({sign}{100 * share:.3g} %)"
