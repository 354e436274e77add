"""Reads journal and history for a resume: the steps before it, and those it will repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from unbroken.checkpoint.layout import Layout, place_in_name
from unbroken.journal.change import MICRO_BATCH_SIZE, EnvironmentChange, changes
from unbroken.journal.journal import read_lines

REMEMBERED_STEPS = 1000
"""Number of steps before the resume that define the trend."""

Lines = dict[int, dict[str, Any]]

NO_OTHER_TRAINING = frozenset(
    {
        "execution-unchanged",
        "gpus-unchanged",
        "other-facts-unchanged",
        "pytorch-version-unchanged",
    }
)
"""Checks whose difference doesn't change the training."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The recorded result of a step that will be repeated."""

    line: Mapping[str, Any]
    """Its line in the journal."""
    changes: tuple[EnvironmentChange, ...] = ()
    """Changes of the environment since then."""


@dataclass(slots=True, kw_only=True)
class Past:
    """The record of a run up to a resume."""

    before: list[dict[str, Any]] = field(default_factory=list)
    """Journal lines of the last steps up to the checkpoint, in order."""
    beyond: dict[int, Reference] = field(default_factory=dict)
    """The recorded results of the steps beyond it, by step."""
    seconds_per_step: float | None = None
    """Seconds per step of earlier starts, including saves and validations; None if unknown."""
    starts_without_a_step: int = 0
    """Starts in a row, up to the last, that began here, completed nothing, and died."""


@dataclass(slots=True)
class _Start:
    number: int
    facts: Mapping[str, Any] | None
    step: int
    has_diverged: bool = False
    is_another_training: bool = False
    """Whether accepted new values are used from here on."""
    lines: int = 0
    is_well_ended: bool = False
    """Whether it was closed, and not because of an error."""


def read_past(layout: Layout, step: int, saved_by: int, facts: Mapping[str, Any],
    saved_facts: Mapping[str, Any]) -> Past:  # fmt: skip
    """Read the record of a run's earlier starts.

    Args:
        layout: The run's directory; the present start has written nothing yet.
        step: Completed steps at the checkpoint to resume.
        saved_by: The start that saved it.
        facts: The present `unbroken.journal.change.arithmetic_facts`.
        saved_facts: Those of the checkpoint, for starts that didn't record theirs.
    """
    history = list(read_lines(layout.history))
    starts = _starts(history)
    before: Lines = {}
    beyond: Lines = {}
    cuts = _Cuts(saved_by)
    for line in read_lines(layout.journal, _journal_from(history)):
        number, start = line.get("step"), starts.get(line.get("start", 0))
        if type(number) is not int:
            continue
        if start is not None:
            start.lines += 1
            if start.has_diverged:
                continue
        if number > step:
            beyond[number] = line
        elif number > step - REMEMBERED_STEPS:
            before[number] = line
            cuts.take(line)
    references = {}
    for number, line in beyond.items():
        wrote = line.get("start", 0)
        path = _path(starts, wrote, saved_by)
        if not _is_given_up(starts.values(), line):
            earlier = [each.facts if each.facts is not None else saved_facts for each in path]
            found = _all_changes(earlier or [saved_facts], facts)
            references[number] = Reference(line, (*found, *cuts.changes_since(wrote)))
    return Past(
        before=[before[number] for number in sorted(before)],
        beyond=references,
        seconds_per_step=_seconds_per_step(history),
        starts_without_a_step=_without_a_step(starts, step),
    )


def changes_training(taken: Iterable[str]) -> list[str]:
    """Return the checks, of those whose new value is used, that make it another training."""
    return [each for each in taken if each not in NO_OTHER_TRAINING]


def _starts(history: Iterable[Mapping[str, Any]]) -> dict[int, _Start]:
    found: dict[int, _Start] = {}
    began_with: Any = None
    for line in history:
        number = line.get("start", 0)
        if line.get("event") == "start":
            found[number] = _Start(number, line.get("computed_with"), line.get("step") or 0)
            taken = line.get("checks", {}).get("taken")
            taken = taken if isinstance(taken, list) else []
            found[number].is_another_training = bool(changes_training(taken))
            if line.get("resumed_from") is None:  # the run began, or began again with other weights
                before, began_with = began_with, line.get("began_with")
                found[number].is_another_training |= began_with != before
        elif line.get("event") == "closed" and number in found:
            found[number].is_well_ended = line.get("error") is None
        elif line.get("event") == "diverged" and number in found:
            if line.get("continued"):
                found[number].is_another_training = True
            else:
                found[number].has_diverged = True
    return found


def _journal_from(history: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of bytes of the journal that a start found not to be the run's."""
    offsets = [line["journal_from"] for line in history if type(line.get("journal_from")) is int]
    return max(0, offsets[-1]) if offsets else 0


class _Cuts:
    """The micro-batches of the steps up to the checkpoint, by start.

    A later start may have repeated these steps with other micro-batches after a step beyond the
    checkpoint was recorded. That step then had weights with other last bits, or other dropout masks.
    """

    def __init__(self, saved_by: int) -> None:
        self._saved_by = saved_by
        self._by_step: dict[int, list[tuple[int, Any]]] = {}
        self._known: dict[int, tuple[EnvironmentChange, ...]] = {}

    def take(self, line: Mapping[str, Any]) -> None:
        """Add the line of a step up to the checkpoint."""
        cut = (line.get("start", 0), line.get(MICRO_BATCH_SIZE))
        self._by_step.setdefault(int(line["step"]), []).append(cut)

    def changes_since(self, wrote: int) -> tuple[EnvironmentChange, ...]:
        """Return the changes of micro-batches between a start and the last one before the save."""
        if wrote not in self._known:
            pairs = [
                (_last_cut(cuts, wrote), _last_cut(cuts, self._saved_by))
                for cuts in self._by_step.values()
                if wrote < self._saved_by
            ]
            found = [
                EnvironmentChange(MICRO_BATCH_SIZE, a, b)
                for a, b in pairs
                if a != b and None not in (a, b)
            ]
            self._known[wrote] = tuple(found[-1:])
        return self._known[wrote]


def _last_cut(cuts: Iterable[tuple[int, Any]], start: int) -> Any:
    return next((cut for by, cut in reversed(list(cuts)) if by <= start), None)


def _path(starts: Mapping[int, _Start], wrote: int, saved_by: int) -> list[_Start]:
    """Return the starts whose arithmetic is between a line and the checkpoint.

    A start after the save continued from the checkpoint itself. One before it trained the same
    steps in an earlier attempt, and the checkpoint descends from later starts.
    """
    last = max(wrote, saved_by)
    between = [starts[n] for n in range(wrote + 1, last + 1) if n in starts]
    own = [starts[wrote]] if wrote in starts else []
    return own + ([each for each in between if each.lines] if wrote < saved_by else [])


def _is_given_up(starts: Iterable[_Start], line: Mapping[str, Any]) -> bool:
    """Return whether a later start deliberately continued from before this step."""
    return any(
        each.is_another_training and each.number > line.get("start", 0) and each.step < line["step"]
        for each in starts
    )


def _all_changes(
    earlier: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]
) -> tuple[EnvironmentChange, ...]:
    found: dict[str, EnvironmentChange] = {}
    for each in earlier:
        found.update({change.name: change for change in changes(each, facts)})
    return tuple(found.values())


def _without_a_step(starts: Mapping[int, _Start], step: int) -> int:
    count = 0
    for each in reversed(list(starts.values())):
        if each.lines or each.step != step:
            break
        count += not each.is_well_ended
    return count


def _seconds_per_step(history: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the median seconds per step between the saves of one start."""
    saves = [
        (each["start"], _step_of(each["checkpoint"]), each["time"])
        for each in history
        if each.get("event") == "saved" and {"start", "checkpoint", "time"} <= each.keys()
    ]
    paces = [
        (later[2] - earlier[2]) / (later[1] - earlier[1])
        for earlier, later in pairwise(saves)
        if earlier[0] == later[0] and later[1] > earlier[1] and later[2] > earlier[2]
    ]
    return median(paces[-20:]) if paces else None


def _step_of(name: str) -> int:
    """Return the completed steps in the name of a checkpoint, `step-00003500+2`."""
    place = place_in_name(name)
    return place[0] if place else 0
