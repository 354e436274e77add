"""All checks, in the order in which they are made and read."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

from unbroken.checks.accumulation_restored import AccumulationRestored
from unbroken.checks.batch_geometry_unchanged import BatchGeometryUnchanged
from unbroken.checks.check import Check, OnAccept, Stage
from unbroken.checks.counters_agree import CountersAgree
from unbroken.checks.data_set_unchanged import DataSetUnchanged
from unbroken.checks.execution_unchanged import ExecutionUnchanged
from unbroken.checks.facts import FactsCheck
from unbroken.checks.frozen_rows_out_of_reach import FrozenRowsOutOfReach
from unbroken.checks.frozen_rows_unmoved import FrozenRowsUnmoved
from unbroken.checks.gpus_unchanged import GpusUnchanged
from unbroken.checks.learning_rate_continues import LearningRateContinues
from unbroken.checks.logs_continue import LogsContinue
from unbroken.checks.model_configuration_unchanged import ModelConfigurationUnchanged
from unbroken.checks.model_leaves_complete import ModelLeavesComplete
from unbroken.checks.next_samples_identical import NextSamplesIdentical
from unbroken.checks.optimizer_alignment_by_name import OptimizerAlignmentByName
from unbroken.checks.optimizer_covers_parameters import OptimizerCoversParameters
from unbroken.checks.optimizer_options_unchanged import OptimizerOptionsUnchanged
from unbroken.checks.optimizer_state_identical import OptimizerStateIdentical
from unbroken.checks.order_unchanged import OrderUnchanged
from unbroken.checks.other_facts_unchanged import OtherFactsUnchanged
from unbroken.checks.other_state_identical import OtherStateIdentical
from unbroken.checks.parts_complete import PartsComplete
from unbroken.checks.probe_loss_reproduced import ProbeLossReproduced
from unbroken.checks.pytorch_version_unchanged import PytorchVersionUnchanged
from unbroken.checks.random_streams_continue import RandomStreamsContinue
from unbroken.checks.rate_is_the_schedules import RateIsTheSchedules
from unbroken.checks.schedule_unchanged import ScheduleUnchanged
from unbroken.checks.settings_unchanged import SettingsUnchanged
from unbroken.checks.ties_unchanged import TiesUnchanged
from unbroken.checks.tokenizer_unchanged import TokenizerUnchanged
from unbroken.checks.trainable_parameters_unchanged import TrainableParametersUnchanged
from unbroken.checks.training_mode_unchanged import TrainingModeUnchanged
from unbroken.checks.values_are_finite import ValuesAreFinite
from unbroken.checks.vocabulary_size_unchanged import VocabularySizeUnchanged
from unbroken.checks.weights_identical import WeightsIdentical
from unbroken.errors import SettingsInvalid

KINDS: Final[tuple[type[Check], ...]] = (
    VocabularySizeUnchanged,
    TokenizerUnchanged,
    ModelConfigurationUnchanged,
    DataSetUnchanged,
    OrderUnchanged,
    SettingsUnchanged,
    BatchGeometryUnchanged,
    PytorchVersionUnchanged,
    GpusUnchanged,
    ExecutionUnchanged,
    PartsComplete,
    ModelLeavesComplete,
    TiesUnchanged,
    TrainableParametersUnchanged,
    OptimizerAlignmentByName,
    OptimizerCoversParameters,
    OptimizerOptionsUnchanged,
    ScheduleUnchanged,
    WeightsIdentical,
    TrainingModeUnchanged,
    FrozenRowsUnmoved,
    FrozenRowsOutOfReach,
    OptimizerStateIdentical,
    CountersAgree,
    AccumulationRestored,
    LearningRateContinues,
    RateIsTheSchedules,
    OtherStateIdentical,
    NextSamplesIdentical,
    RandomStreamsContinue,
    ValuesAreFinite,
    ProbeLossReproduced,
    LogsContinue,
)
"""All but the one that answers for whatever facts these leave."""


CONTENT: Final[tuple[type[Check], ...]] = (
    WeightsIdentical,
    FrozenRowsOutOfReach,
    OptimizerOptionsUnchanged,
    OptimizerStateIdentical,
    AccumulationRestored,
    LearningRateContinues,
    RateIsTheSchedules,
    OtherStateIdentical,
)
"""Those that say whether what was restored is still there just before the first step."""


def every_check(may_change: Collection[str] = ()) -> list[Check]:
    """Return one of each check.

    Args:
        may_change: Dotted names of facts that are free to change.
    """
    made = [kind(may_change) if issubclass(kind, FactsCheck) else kind() for kind in KINDS]
    answered_for = [name for each in made for name in each.covers]
    rest = OtherFactsUnchanged((*answered_for, *may_change))
    after = next(i for i, each in enumerate(made) if each.stage is Stage.AFTER)
    return [*made[:after], rest, *made[after:]]


def require_known(accepted: Collection[str]) -> None:
    """Let no slip of the finger accept nothing.

    Raises:
        SettingsInvalid: An id names no check.
    """
    checks = every_check()
    known = [each.id for each in checks]
    for id_ in accepted:
        if id_ not in known:
            near = difflib.get_close_matches(id_, known, 1)
            listed = ", ".join(each.id for each in checks if each.on_accept is not OnAccept.NEVER)
            raise SettingsInvalid(
                f"{id_!r} was accepted, but it is not the id of a check."
                + (f" Did you mean {near[0]}?" if near else ""),
                "What it was meant to accept would stop the resume all the same.",
                f"Give an id as the report prints it. These can be accepted: {listed}.",
            )
