"""What a resumed run compares when it reads its first batch.

Only then are the loader, its sampler and the data set as the loop has them: a body may change them at the
beginning of an epoch. Nothing is trained before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from unbroken.checks.check import Check, CheckOutcome
from unbroken.checks.decision import decide
from unbroken.checks.last_batch_identical import CONTENT_AGAIN
from unbroken.checks.report import examine
from unbroken.checks.state_summary import StateSummary
from unbroken.run.inspector import SAMPLES_TO_COME, StateInspector
from unbroken.run.order import Batches
from unbroken.run.resume import refusal, report_of

_log = logging.getLogger("unbroken")


class FirstRead:
    """Compares the first batches of a start with what the checkpoint knows of them.

    Args:
        saved: The checkpoint.
        inspector: Knows the order.
        batches: Where the batches are read.
        checks: Those that are made.
        accept: Ids of checks whose difference is meant.
    """

    def __init__(
        self,
        saved: StateSummary,
        inspector: StateInspector,
        batches: Batches,
        checks: Collection[Check],
        accept: Collection[str],
    ) -> None:
        self._saved = saved
        self._inspector = inspector
        self._batches = batches
        self._checks = checks
        self._accept = accept

    def compare(self) -> None:
        """Read the batch that was trained last once more, and compare.

        Raises:
            ResumeRefused: Something differs and was not accepted; the objects refuse to train.
        """
        began, inspector = time.monotonic(), self._inspector
        position = inspector.state.position
        evidence = {
            CONTENT_AGAIN: self._batches.read_again(position),
            "next_samples": inspector.order.next_ids(position, SAMPLES_TO_COME),
        }
        live = StateSummary(facts=inspector.facts, evidence=evidence)
        findings = examine(self._checks, self._saved, live)
        report = report_of(findings, began)
        decision = decide(report, self._accept)
        if not decision.goes_on:
            inspector.state.forbid_training()
            raise refusal(
                report,
                decision,
                "This is not the run that was saved:",
                decision.blocking[0].why,
                decision.blocking[0].remedy,
            )
        for each in findings:
            if each.outcome is CheckOutcome.DIFFERS:
                _log.warning("[Resume] %s", each.headline or f"{each.title}: {each.numbers}")
