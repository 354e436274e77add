"""The self-audit: a few looks at the first steps and the first save, and what they came to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import torch

from unbroken.audit.changes import changed
from unbroken.audit.declared import (
    declared_objects,
    saved_by_adapters,
    with_what_adapters_save,
)
from unbroken.audit.first_use import FirstUse
from unbroken.audit.look import Look, look
from unbroken.audit.saved import SavedState
from unbroken.audit.strangers import Strangers
from unbroken.audit.unsaved import Unsaved, described, message
from unbroken.audit.walk import Reached
from unbroken.state.training_state import TrainingState

_log = logging.getLogger("unbroken")
UNSAVED: Final = "unsaved"
"""What the history calls state that is in no checkpoint."""
LOOKS: Final = 3
"""Before the first step, after it, and after the second."""


class SelfAudit:
    """Compares what is reachable from a run's objects with what the run saves.

    It looks before the first step of a start, after it and after the second, and at the first save
    that follows; then no more, until parts, groups or parameters are added.

    Args:
        state: What is saved.
        note: Writes into the run's history.
    """

    def __init__(self, state: TrainingState, note: Callable[..., None]) -> None:
        self._state = state
        self._note = note
        self._looks: list[Look] = []
        self._first_use: FirstUse | None = None
        self._flags: set[str] = set()
        self._told: set[str] = set()
        self._awaits_save = True
        self._size = -1
        self._strangers = Strangers(state, self._objects)

    def before_step(self) -> None:
        """Look at what the steps before have changed; only around the first two."""
        size = self._declared_size()
        if size != self._size:
            self._size, self._looks, self._flags = size, [], set()
            self._awaits_save = True
        if len(self._looks) < LOOKS:
            self._strangers.listen()
            self._guarded(self._look_at_step)
        if len(self._looks) == LOOKS:
            self._strangers.close()

    def before_backward(self, loss: torch.Tensor) -> None:
        """Look at the graph of the first loss.

        Raises:
            NotEncodable: It trains something that is not declared.
        """
        self._strangers.before_backward(loss)

    def gradients_are_in(self) -> None:
        """Look at what the first forward pass has written, before an optimizer writes."""
        first, self._first_use = self._first_use, None
        if first is not None:
            self._guarded(lambda: self._flags.update(first.written()))

    def after_step(self) -> None:
        """Hear of no update until the next step: another training may go on in this process."""
        self._strangers.close()

    def at_save(self) -> None:
        """Look once more at the first save, where the first steps are over: at what changes seldom."""
        is_between = not self._state.position.samples and not self._state.has_uncounted
        if self._awaits_save and len(self._looks) == LOOKS and is_between:
            self._awaits_save = False
            self._guarded(self._look_at_save)

    def close(self) -> None:
        """Look no more."""
        self._strangers.close()

    def _look_at_step(self) -> None:
        self._looks.append(self._look())
        if len(self._looks) == 1:
            self._first_use = FirstUse(self._looks[0])
        if len(self._looks) == LOOKS:
            found = changed(self._looks, is_later=False, flags=self._flags)
            self._report(found, self._strangers.changed())
        for each in self._looks:
            each.reached = {}

    def _look_at_save(self) -> None:
        self._looks = [self._looks[-1], self._look()]
        self._report(changed(self._looks, is_later=True))
        self._looks = [Look()] * LOOKS  # nothing is kept; as many, so that no step looks again

    def _look(self) -> Look:
        parts, before = self._state.parts, self._looks[-1] if self._looks else None
        saved = SavedState(with_what_adapters_save(parts, self._state.capture()))
        return look(self._objects(), saved, before, saved_by_adapters(parts))

    def _report(self, found: list[Reached], strange: Sequence[Unsaved] = ()) -> None:
        everything = [*described(found, self._objects()), *strange]
        told = [each for each in everything if each.path not in self._told]
        self._told.update(each.path for each in told)
        if told:
            _log.warning("%s", message(told))
            self._note(UNSAVED, step=self._state.position.step, found=[asdict(e) for e in told])

    def _objects(self) -> Mapping[str, Any]:
        return declared_objects(self._state.parts)

    def _declared_size(self) -> int:
        return len(self._state.parts) + self._state.groups_and_parameters()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Look at objects that nobody here wrote: whatever they raise, the training goes on."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  # of foreign code
            _log.info("The self-audit could not look: %s: %s", type(error).__name__, error)
            self._looks, self._first_use, self._awaits_save = [Look()] * LOOKS, None, False
