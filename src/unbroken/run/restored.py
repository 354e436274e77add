"""Between a restore and the first step: what the loop may change there, and what is undone.

A loop that is resumed inside a step, or inside an epoch, runs the beginning of its body a second
time: `optimizer.zero_grad()`, an average, a schedule. It acted before the checkpoint was saved, so
the saved state has it; acting twice would be another training.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from unbroken.checks.catalogue import CONTENT, LIBRARY
from unbroken.checks.decision import decide
from unbroken.checks.report import examine
from unbroken.checks.state_summary import StateSummary
from unbroken.run.epoch_work import EpochWork
from unbroken.run.inspector import StateInspector
from unbroken.run.open import OpenRun
from unbroken.run.resume import SWITCHED, refusal, report_of

NAMED = 5
"""How many changed values are named where more are undone."""

_log = logging.getLogger("unbroken")


class ResumedBeginning:
    """Meets what the loop does between a restore and the first micro-batch.

    Args:
        inspector: Looks at the live objects.
        work: Knows whether the loop is in the body of an epoch that was begun before.
    """

    def __init__(self, inspector: StateInspector, work: EpochWork) -> None:
        self._inspector = inspector
        self._work = work
        self._inside: StateSummary | None = None

    def of_loop(self, restored: StateSummary, run: OpenRun) -> None:
        """Undo what an epoch's body did before its first step, if it did so before; refuse all else.

        Args:
            restored: The live objects right after the restore.
            run: The open run.

        Raises:
            ResumeRefused: Something else changed what was restored.
        """
        position = self._inspector.state.position
        if self._work.is_resumed_inside(position):
            undo_changes(restored, run, self._inspector)
        else:
            require_untouched(restored, self._inspector)
        self._inside = restored if position.samples else None

    def of_step(self, run: OpenRun) -> None:
        """Undo what the body of a step that was begun before did before its first micro-batch."""
        inside, self._inside = self._inside, None
        if inside is not None:
            undo_changes(inside, run, self._inspector)


def undo_changes(restored: StateSummary, run: OpenRun, inspector: StateInspector) -> None:
    """Restore once more what the loop changed since the restore.

    Args:
        restored: The live objects right after the restore.
        run: The open run.
        inspector: Looks at the live objects.
    """
    now = inspector.content()
    changed = [
        *(path for path, leaf in restored.leaves.items() if now.leaves.get(path) != leaf),
        *(path for path in now.leaves if path not in restored.leaves),
        *(
            path
            for path in sorted(restored.values.keys() | now.values.keys())
            if now.values.get(path) != restored.values.get(path)
        ),
    ]
    if not changed:
        return
    run.restore_again()
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    _log.info(
        "The beginning of this step or epoch ran before the stop already; what it changed now was "
        "undone: %s%s.",
        ", ".join(changed[:NAMED]),
        more,
    )
    run.record.note("undone", step=inspector.state.position.step, values=changed[:NAMED])


def require_untouched(restored: StateSummary, inspector: StateInspector) -> None:
    """Compare the live objects before the first step with what they were after the restore.

    Modes are left out: a loop calls `model.train()` here. So are parts of no kind that is known:
    a validation may have noted its score.

    Raises:
        ResumeRefused: Something changed what was restored; the objects refuse to train.
    """
    began = time.monotonic()
    kinds = {name: kind for name, kind in inspector.kinds().items() if kind != "other"}
    now = replace(inspector.content(), kinds=kinds)
    checks = [each for each in LIBRARY if each.id in CONTENT]
    findings = examine(checks, replace(restored, kinds=kinds), now)
    decision = decide(report_of(findings, began))
    if decision.goes_on:
        return
    switched = restored.evidence.get(SWITCHED)
    if switched is not None:
        again = examine(checks, replace(switched, kinds=kinds), now)
        if decide(report_of(again, began)).goes_on:
            return
    inspector.state.forbid_training()
    raise refusal(
        report_of(findings, began),
        decision,
        "Between Run.resume() and the first step it changed:",
        "What was restored and checked is no longer what would be trained: another load, an "
        "initialisation, a cast, or a rate set by hand acted after it.",
        "Do it before Run.resume(), or leave it out; a new value is taken with accept=[...].",
    )
