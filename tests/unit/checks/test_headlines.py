"""Checks that answer for several things say which of them differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unbroken.checks.facts_unchanged import (
    DATA_SET_UNCHANGED,
    EXECUTION_UNCHANGED,
    LAST_BITS,
    OTHER_CONTENT,
    OTHER_SAMPLES,
    ROUNDING,
)
from unbroken.checks.learning_rate_continues import LearningRateContinues
from unbroken.checks.model_leaves_complete import ModelLeavesComplete
from unbroken.checks.optimizer_state_identical import OptimizerStateIdentical
from unbroken.checks.other_state_identical import OtherStateIdentical
from unbroken.checks.report import examine
from unbroken.checks.state_summary import Leaf, StateSummary
from unbroken.checks.weights_identical import WeightsIdentical

SAVED = StateSummary(
    kinds={"m": "model", "ema": "model", "o": "optimizer"},
    values={"o.groups.0.params.0": "m.w", "o.groups.0.eps": 1e-8, "o.groups.0.betas.0": 0.9},
    leaves={
        "m.w": Leaf("float32", (2,), "aa"),
        "ema.module.w": Leaf("float32", (2,), "aa"),
        "o.state.m.w.exp_avg": Leaf("float32", (2,), "aa"),
    },
)


def with_leaf(path: str) -> StateSummary:
    """Return the run with other content in one tensor."""
    return replace(SAVED, leaves={**SAVED.leaves, path: Leaf("float32", (2,), "bb")})


def with_value(path: str, value: object) -> StateSummary:
    """Return the run with another value."""
    return replace(SAVED, values={**SAVED.values, path: value})


def test_an_average_is_not_called_a_weight() -> None:
    """A model that no optimiser trains belongs to the other state, and is named there."""
    live = with_leaf("ema.module.w")
    assert "agrees" == WeightsIdentical().compare(SAVED, live).outcome
    found = OtherStateIdentical().compare(SAVED, live)
    assert "CRITICAL: An average or a teacher is not the saved one: ema" == found.headline


def test_a_trained_weight_is_not_called_an_average() -> None:
    """What the optimiser trains is answered for by one check alone."""
    live = with_leaf("m.w")
    assert "differs" == WeightsIdentical().compare(SAVED, live).outcome
    assert "agrees" == OtherStateIdentical().compare(SAVED, live).outcome


def test_options_are_named_where_they_alone_differ() -> None:
    """Options set after the restore are told by name; a moment that differs beside them is not hidden."""
    changed = with_value("o.groups.0.betas.0", 0.5)
    found = OptimizerStateIdentical().compare(SAVED, changed)
    assert "CRITICAL: The optimiser's options are not the saved ones: betas" == found.headline
    moments = replace(changed, leaves=with_leaf("o.state.m.w.exp_avg").leaves)
    assert "" == OptimizerStateIdentical().compare(SAVED, moments).headline


def test_a_cast_model_is_not_called_another_model() -> None:
    """Where names and shapes are the same, the dtypes are told; a missing leaf is another fault."""
    cast = replace(SAVED, leaves={k: Leaf("float64", v.shape) for k, v in SAVED.leaves.items()})
    found = ModelLeavesComplete().compare(SAVED, cast)
    expected = "CRITICAL: The model is built in another dtype: float64 instead of float32"
    assert expected == found.headline
    less = replace(cast, leaves={"m.w": Leaf("float64", (2,))})
    assert "" == ModelLeavesComplete().compare(SAVED, less).headline


def test_a_lost_schedule_is_no_mismatch_of_zero_per_cent() -> None:
    """A group whose schedule drives another optimiser now is told so."""
    saved = StateSummary(evidence={"rates": {"o.0": 1e-3}, "next_rates": {"o.0": [1e-3, 1e-4]}})
    live = StateSummary(evidence={"rates": {"o.0": 1e-3}, "next_rates": {"another": [1e-3, 1e-4]}})
    found = LearningRateContinues().compare(saved, live)
    assert "o.0: update +1: no schedule drives it any more" == found.numbers
    assert "" == found.headline


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({"threads": 1}, LAST_BITS),
        ({"precision": "bf16"}, ROUNDING),
        ({"matmul_precision": "high"}, ROUNDING),
        ({"threads": 1, "precision": "bf16"}, f"{ROUNDING} {LAST_BITS}"),
    ],
)
def test_another_precision_is_no_matter_of_last_bits(now: dict[str, object], why: str) -> None:
    """What rounds every step otherwise is told apart from another order of additions."""
    before = {"threads": 2, "precision": "fp32", "matmul_precision": "highest"}

    def seen(facts: dict[str, object]) -> StateSummary:
        execution = {"precision": facts["precision"]}
        environment = {name: facts[name] for name in ("threads", "matmul_precision")}
        return StateSummary(facts={"environment": environment, "execution": execution})

    (found,) = examine([EXECUTION_UNCHANGED], seen(before), seen(before | now))
    assert why == found.why
    assert ("precision" in now) == ("Checkpoint: fp32, Current: bf16" in found.headline)


@pytest.mark.parametrize(
    ("ids", "now", "why"),
    [("aa", "aa", OTHER_CONTENT), ("aa", "bb", OTHER_SAMPLES), (None, None, OTHER_SAMPLES)],
)
def test_other_content_is_not_called_other_samples(
    ids: str | None, now: str | None, why: str
) -> None:
    """Used twice or never are only samples of another set; where nothing tells, that is feared."""

    def seen(data: str, ids: str | None) -> StateSummary:
        order = {} if ids is None else {"order": {"samples": 9, "ids": ids, "lengths": None}}
        return StateSummary(facts={"data": {"train": data, "dropped": []}} | order)

    (found,) = examine([DATA_SET_UNCHANGED], seen("11", ids), seen("22", now))
    assert why == found.why
