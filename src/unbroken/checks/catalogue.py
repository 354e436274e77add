"""All checks, in their order of execution and in the report."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from unbroken.checks.accumulation_restored import AccumulationRestored
from unbroken.checks.advice import Advice, advised
from unbroken.checks.batch_geometry_unchanged import BatchGeometryUnchanged
from unbroken.checks.check import Check, OnAccept, Severity, Stage
from unbroken.checks.counters_agree import CountersAgree
from unbroken.checks.fact_check import FactCheck
from unbroken.checks.facts_unchanged import (
    DATA_SET_UNCHANGED,
    EXECUTION_UNCHANGED,
    GPUS_UNCHANGED,
    ORDER_UNCHANGED,
    PYTORCH_VERSION_UNCHANGED,
    SETTINGS_UNCHANGED,
)
from unbroken.checks.frozen_rows_out_of_reach import FrozenRowsOutOfReach
from unbroken.checks.frozen_rows_unmoved import FrozenRowsUnmoved
from unbroken.checks.learning_rate_continues import LearningRateContinues
from unbroken.checks.logs_continue import LogsContinue
from unbroken.checks.model_leaves_complete import ModelLeavesComplete
from unbroken.checks.next_samples_identical import NextSamplesIdentical
from unbroken.checks.optimizer_alignment_by_name import OptimizerAlignmentByName
from unbroken.checks.optimizer_covers_parameters import OptimizerCoversParameters
from unbroken.checks.optimizer_options_unchanged import OptimizerOptionsUnchanged
from unbroken.checks.optimizer_state_identical import OptimizerStateIdentical
from unbroken.checks.other_facts_unchanged import OtherFactsUnchanged
from unbroken.checks.other_state_identical import OtherStateIdentical
from unbroken.checks.parts_complete import PartsComplete
from unbroken.checks.probe_loss_reproduced import ProbeLossReproduced
from unbroken.checks.random_streams_continue import RandomStreamsContinue
from unbroken.checks.rate_is_the_schedules import RateIsTheSchedules
from unbroken.checks.schedule_unchanged import ScheduleUnchanged
from unbroken.checks.ties_unchanged import TiesUnchanged
from unbroken.checks.trainable_parameters_unchanged import TrainableParametersUnchanged
from unbroken.checks.training_mode_unchanged import TrainingModeUnchanged
from unbroken.checks.values_are_finite import ValuesAreFinite
from unbroken.checks.weights_identical import WeightsIdentical
from unbroken.errors import SettingsInvalid

LIBRARY: Final[tuple[Check, ...]] = (
    DATA_SET_UNCHANGED,
    ORDER_UNCHANGED,
    SETTINGS_UNCHANGED,
    BatchGeometryUnchanged(),
    PYTORCH_VERSION_UNCHANGED,
    GPUS_UNCHANGED,
    EXECUTION_UNCHANGED,
    PartsComplete(),
    ModelLeavesComplete(),
    TiesUnchanged(),
    TrainableParametersUnchanged(),
    OptimizerAlignmentByName(),
    OptimizerCoversParameters(),
    OptimizerOptionsUnchanged(),
    ScheduleUnchanged(),
    WeightsIdentical(),
    TrainingModeUnchanged(),
    FrozenRowsUnmoved(),
    FrozenRowsOutOfReach(),
    OptimizerStateIdentical(),
    CountersAgree(),
    AccumulationRestored(),
    LearningRateContinues(),
    RateIsTheSchedules(),
    OtherStateIdentical(),
    NextSamplesIdentical(),
    RandomStreamsContinue(),
    ValuesAreFinite(),
    ProbeLossReproduced(),
    LogsContinue(),
)
"""All but the last one, which compares the facts that no other check covers."""

CONTENT: Final = (
    WeightsIdentical.id,
    FrozenRowsOutOfReach.id,
    OptimizerOptionsUnchanged.id,
    OptimizerStateIdentical.id,
    AccumulationRestored.id,
    LearningRateContinues.id,
    RateIsTheSchedules.id,
    OtherStateIdentical.id,
)
"""The checks that are repeated right before the first step."""


def every_check(
    may_change: Collection[str] = (),
    added: Iterable[Check] = (),
    advice: Mapping[str, Advice] | None = None,
) -> list[Check]:
    """Return the checks of a run; in each stage, added ones come first.

    Args:
        may_change: Dotted names of facts that may change.
        added: Checks beside the library's own.
        advice: A program's own texts, by the id of the check.

    Raises:
        SettingsInvalid: One of them is no check, its id exists twice, or advice names no check.
    """
    _require_list("checks", added, "checks=[NoiseStaysNear()]")
    _require_list("may_change", may_change, 'may_change=["noise"]')
    every = [*map(_declared, added), *LIBRARY]
    answered_for = [name for each in every for name in each.covers]
    every.append(OtherFactsUnchanged((*answered_for, *may_change)))
    _require_unique([each.id for each in every])
    _require_advice(advice or {}, [each.id for each in every])
    made = [each.freed(may_change) if isinstance(each, FactCheck) else each for each in every]
    return [
        advised(each, (advice or {}).get(each.id))
        for stage in Stage
        for each in made
        if each.stage is stage
    ]


def _declared(check: Check) -> Check:
    """Return an added check after validating its attributes."""
    found, why = "", "Its findings could not be reported, accepted or refused."
    if not isinstance(check, Check):
        is_class = isinstance(check, type) and issubclass(check, Check)
        found = "is a class, not an instance" if is_class else "is no unbroken.checks.Check"
    elif not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", str(getattr(check, "id", ""))):
        found = (
            f"has the id {getattr(check, 'id', None)!r}; it must be words in lower case with dashes"
        )
    else:
        for name, kind in (("severity", Severity), ("on_accept", OnAccept), ("stage", Stage)):
            if not isinstance(getattr(check, name), kind):
                found = f"({check.id}) has the {name} {getattr(check, name)!r}, which is no {kind.__name__}"
    if found:
        raise SettingsInvalid(
            f"{check!r}, given in checks=, {found}.",
            why,
            "Give instances of subclasses of unbroken.checks.Check, declared as docs/library.md "
            "shows.",
        )
    return check


def _require_list(name: str, given: object, example: str) -> None:
    """Let nothing pass for a list: of a text, each letter would be taken for a name."""
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise SettingsInvalid(
            f"{name}= was given {given!r}, which is no list.",
            "It would name nothing, or something else.",
            f"Give a list, such as {example}.",
        )


def _require_advice(advice: Mapping[str, Advice], known: list[str]) -> None:
    for id_, each in advice.items():
        if id_ not in known:
            raise SettingsInvalid(
                f"advice= was given for {id_!r}, which is not the id of a check.{_nearest(id_, known)}",
                "What it says would never be shown.",
                "Give the id of a check of this run; the library's are in docs/troubleshooting.md.",
            )
        if not isinstance(each, Advice):
            raise SettingsInvalid(
                f"advice= was given {each!r} for {id_!r}, which is no unbroken.checks.Advice.",
                "Nothing of it could be shown.",
                'Give Advice(remedy="..."), with why= and cause= where they are to be others.',
            )


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f" Did you mean {near[0]}?" if near else ""


def _require_unique(ids: list[str]) -> None:
    twice = next((each for each in ids if ids.count(each) > 1), None)
    if twice is not None:
        raise SettingsInvalid(
            f"There are two checks with the id {twice!r}.",
            "Accepting one of them by its id would accept the other as well.",
            "Give the check in checks= an id of its own; the ids of the library's checks are in "
            "docs/troubleshooting.md.",
        )


def require_known(accepted: Collection[str], checks: Collection[Check]) -> None:
    """Raise an error if an accepted id names no check.

    Args:
        accepted: The accepted ids.
        checks: The checks of the run.

    Raises:
        SettingsInvalid: An id names no check.
    """
    _require_list("accept", accepted, 'accept=["settings-unchanged"]')
    known = [each.id for each in checks]
    for id_ in accepted:
        if id_ not in known:
            listed = ", ".join(each.id for each in checks if each.on_accept is not OnAccept.NEVER)
            raise SettingsInvalid(
                f"{id_!r} was accepted, but it is not the id of a check.{_nearest(str(id_), known)}",
                "What it was meant to accept would stop the resume all the same.",
                f"Give an id as the report prints it. These can be accepted: {listed}.",
            )
