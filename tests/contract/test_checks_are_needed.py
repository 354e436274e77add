"""Each check is needed: without it a fault is missed, is met only after a step, or gets a wrong name."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from support.single_faults import AREA
from unbroken.checks.catalogue import CONTENT, every_check
from unbroken.checks.check import Check
from unbroken.run import restored, resume
from unbroken.selftest.catalogue import FAULTS
from unbroken.selftest.checks import CHECKS
from unbroken.selftest.trial import Detection, DetectionKind, Trials

NOTHING_SAID = (DetectionKind.IMPOSSIBLE, "")
"""It changes no bit here, and without the check nobody would be told."""


class Need(NamedTuple):
    """Why a check is there."""

    fault: str
    """In the self-test's catalogue or in `support.single_faults`; the check meets it."""
    without: tuple[str, str]
    """How it is met without the check, and by what."""


NEEDED = {
    "vocabulary-size-unchanged": Need(
        "reset-after-larger-vocabulary", ("check", "model-leaves-complete")
    ),
    "tokenizer-unchanged": Need("permuted-tokenizer", ("check", "data-set-unchanged")),
    "model-configuration-unchanged": Need("other-dropout-asked", ("replay", "replay: loss")),
    "data-set-unchanged": Need("longer-manifest", ("check", "settings-unchanged")),
    "order-unchanged": Need("another-seed", ("check", "next-samples-identical")),
    "settings-unchanged": Need("clipping-asked-otherwise", ("replay", "replay: update")),
    "batch-geometry-unchanged": Need("larger-batch", ("replay", "replay: samples")),
    "pytorch-version-unchanged": Need("another-torch", NOTHING_SAID),
    "gpus-unchanged": Need("another-device", NOTHING_SAID),
    "execution-unchanged": Need("more-threads", NOTHING_SAID),
    "parts-complete": Need("average-forgotten", ("refused", "StateMismatch")),
    "model-leaves-complete": Need("module-renamed", ("check", "optimizer-alignment-by-name")),
    "ties-unchanged": Need("model-built-untied", ("check", "model-leaves-complete")),
    "trainable-parameters-unchanged": Need(
        "matrix-frozen", ("check", "optimizer-alignment-by-name")
    ),
    "optimizer-alignment-by-name": Need(
        "parameters-in-another-order", ("refused", "StateMismatch")
    ),
    "optimizer-covers-parameters": Need("moments-stripped", ("replay", "replay: update")),
    "optimizer-options-unchanged": Need("other-betas", NOTHING_SAID),
    "schedule-unchanged": Need("longer-curve", ("refused", "StateMismatch")),
    "other-facts-unchanged": Need("another-fact", NOTHING_SAID),
    "weights-identical": Need("dry-run", ("replay", "replay: update")),
    "training-mode-unchanged": Need("mode-changed-by-a-load", ("replay", "replay: loss")),
    "frozen-rows-unmoved": Need("base-rows-moved", ("replay", "replay: loss")),
    "frozen-rows-out-of-reach": Need("frozen-rows-decay", ("check", "weights-identical")),
    "optimizer-state-identical": Need("optimizer-state-lost", ("replay", "replay: update")),
    "counters-agree": Need("counter-ahead", ("replay", "replay: update")),
    "accumulation-restored": Need("begun-step-from-its-start", ("replay", "replay: loss")),
    "learning-rate-continues": Need("other-curve", ("replay", "replay: rate")),
    "rate-is-the-schedules": Need("rate-of-another-run", ("replay", "replay: rate")),
    "other-state-identical": Need("scaler-not-loaded", ("replay", "replay: gradient")),
    "next-samples-identical": Need("another-permutation", ("replay", "replay: samples")),
    "random-streams-continue": Need("another-scheme", ("replay", "replay: loss")),
    "values-are-finite": Need("moment-not-a-number", ("refused", "TrainingWentBad")),
    "logs-continue": Need("journal-gone", NOTHING_SAID),
    "probe-loss-reproduced": Need("model-computes-otherwise", ("replay", "replay: loss")),
}


def detect(trials: Trials, fault: str) -> Detection:
    """Do a fault to a run of ours; return how it was met."""
    return trials.detect(next(each for each in (*AREA.faults, *FAULTS) if each.id == fault))


def take_out(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a check out of every look: before the restore, after it, and before the first step."""

    def others(*given: Any) -> list[Check]:
        return [each for each in every_check(*given) if each.id != check]

    monkeypatch.setattr(resume, "every_check", others)
    content = tuple(each for each in CONTENT if each != check)
    monkeypatch.setattr(restored, "CONTENT", content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", NEEDED)
def test_without_the_check_a_fault_is_missed_or_misnamed(
    trials: Trials, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    """With it, it is what meets the fault; without it, it is as bad as the table says."""
    fault, without = NEEDED[check]
    assert check == detect(trials, fault).by
    take_out(check, monkeypatch)
    found = detect(trials, fault)
    assert without == (found.how, found.by)


def test_every_check_is_in_the_table() -> None:
    """A new check is given a fault that needs it; what nothing needs has no place."""
    assert {each.id for each in every_check(added=CHECKS)} == NEEDED.keys()
