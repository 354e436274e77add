"""Between a restore and the first step: what the loop may change there, and what is undone.

A loop that is resumed inside a step, or inside an epoch, runs the beginning of its body a second
time: `optimizer.zero_grad()`, an average, a schedule. It acted before the checkpoint was saved, so
the saved state has it; acting twice would be another training.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from unbroken.checks.catalogue import CONTENT, LIBRARY
from unbroken.checks.decision import decide
from unbroken.checks.declared_values import OF_VALUES
from unbroken.checks.report import examine
from unbroken.checks.schedule_settings import OF_LOOP
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.errors import StateMismatch
from unbroken.run import misuse
from unbroken.run.epoch_work import EpochWork
from unbroken.run.inspector import StateInspector
from unbroken.run.open import OpenRun
from unbroken.run.resume import SWITCHED, refusal, report_of

NAMED = 5
"""How many changed values are named where more are undone."""

Built = TypeVar("Built")

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
        self._is_in_new_body = False
        self.restored: StateSummary | None = None
        """The live objects right after a restore, until the first step."""

    def of_loop(self, run: OpenRun) -> None:
        """Meet what the loop did before its first step; later steps are met with nothing.

        Raises:
            ResumeRefused: Something changed what was restored.
            RunMisused: A part that was added while training wasn't added again.
        """
        restored = self.restored
        if restored is None:
            return
        if pending := self._inspector.state.pending:
            raise misuse.not_added_again(pending)
        self._meet(restored, run)
        position = self._inspector.state.position
        self._inside, self.restored = (restored if position.samples else None), None
        run.monitor.state_is_as_saved()

    def of_body(self) -> None:
        """Meet what the loop did before the body of an epoch that is begun for the first time.

        What that body does itself before its first step is part of the training.

        Raises:
            ResumeRefused: Something changed what was restored.
        """
        inside = self._work.is_resumed_inside(self._inspector.state.position)
        if self.restored is not None and not inside and not self._is_in_new_body:
            require_untouched(self.restored, self._inspector)
            self._is_in_new_body = True

    def _meet(self, restored: StateSummary, run: OpenRun) -> None:
        """Undo what an epoch's body did, if it did so before the checkpoint; refuse all else."""
        if self._is_in_new_body:
            return
        if self._work.is_resumed_inside(self._inspector.state.position):
            undo_changes(restored, run, self._inspector)
        else:
            require_untouched(restored, self._inspector)

    def undo(self, run: OpenRun) -> None:
        """Undo what the loop changed since the restore; once a step was made there is nothing to undo."""
        if self.restored is not None:
            undo_changes(self.restored, run, self._inspector)

    def add_part(self, name: str, build: Callable[[], Built], run: OpenRun) -> Built:
        """Build a part and declare it; see `Run.add_part`."""
        restored, state = self.restored, self._inspector.state
        if restored is not None:
            self._meet(restored, run)
        built = build()
        state.add_part(name, built)
        if restored is not None:
            saved = run.restored.saved
            if saved is not None and name in saved.kinds:
                # What building it changed elsewhere, such as a rate, it had changed before the save.
                run.restored.again()
                self._require_restored(name, saved)
            now = self._inspector.content()
            self.restored = replace(now, evidence={**restored.evidence, **now.evidence})
        return built

    def _require_restored(self, name: str, saved: StateSummary) -> None:
        """Compare an added part with what was saved of it.

        Raises:
            StateMismatch: It did not take its state in; the objects refuse to train.
        """
        changed = _changed(saved, self._inspector.content())
        if lost := [path for path in changed if is_below(path, (name,))]:
            self._inspector.state.forbid_training()
            raise StateMismatch(
                f"The part {name!r} is not what was saved: {', '.join(lost[:NAMED])}.",
                "It would go on from another state than the run was stopped in.",
                "Build it as it was built; its load_state_dict() must take in all that it saved.",
            )

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
    changed = _changed(restored, now)
    if not changed:
        return
    run.restored.again()
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    _log.info(
        "The beginning of this step or epoch ran before the stop already; what it changed now was "
        "undone: %s%s.",
        ", ".join(changed[:NAMED]),
        more,
    )
    run.record.note("undone", step=inspector.state.position.step, values=changed[:NAMED])


def _changed(before: StateSummary, now: StateSummary) -> list[str]:
    """Return the paths of what is not what it was."""
    return [
        *(path for path, leaf in before.leaves.items() if now.leaves.get(path) != leaf),
        *(path for path in now.leaves if path not in before.leaves),
        *(
            path
            for path in sorted(before.values.keys() | now.values.keys())
            if now.values.get(path) != before.values.get(path)
        ),
    ]


def require_untouched(restored: StateSummary, inspector: StateInspector) -> None:
    """Compare the live objects before the first step with what they were after the restore.

    Modes are left out: a loop calls `model.train()` here. So are schedules that it moves, and parts of no kind that is known:
    a validation may have noted its score.

    Raises:
        ResumeRefused: Something changed what was restored; the objects refuse to train.
    """
    began = time.monotonic()
    at_will = ("other", OF_VALUES, OF_LOOP)
    kinds = {name: kind for name, kind in inspector.kinds().items() if kind not in at_will}
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
