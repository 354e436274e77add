"""What changes in a program's own variables while it trains and is in no checkpoint: seen, not read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from unbroken.audit.changes import changed
from unbroken.audit.look import Look, look
from unbroken.audit.saved import SavedState
from unbroken.protection import refusals
from unbroken.protection.chosen_loader import resolved
from unbroken.protection.found import FoundObjects
from unbroken.state.training_state import TrainingState

_log = logging.getLogger("unbroken")
LOOK_AT_BATCH: Final = 3
"""Batches of a start before the first look; others come after rounds 1, 2, 4, 8 and so on."""
_ROOT: Final = "variables"


class SeenChanges:
    """Looks at the variables before the loop, after some batches and after some of its rounds.

    Args:
        variables: Returns them as they are now.
        found: What is saved, or belongs to the loaders.
        state: What is saved.
        told: Expressions that were told already; what is told later is added.
    """

    def __init__(
        self,
        variables: Callable[[], Mapping[str, Any]],
        found: FoundObjects,
        state: TrainingState,
        told: list[str],
    ) -> None:
        self._variables = variables
        self._found = found
        self._state = state
        self._told = told
        self._names = set(variables())
        self._known = [each.value for each in (*found.saved(), *found.loaders)]
        self._looks = [self._look(None)]
        self._rounds = 0

    def after_batches(self) -> None:
        """Look after the first batches of a start."""
        self._tell()

    def after_round(self) -> None:
        """Look after a round.

        Raises:
            RunMisused: A model or an optimizer was replaced by another object.
        """
        self._require_same_objects()
        self._rounds += 1
        if self._rounds & (self._rounds - 1) == 0:
            self._tell()

    def _tell(self) -> None:
        try:
            self._looks.append(self._look(self._looks[-1]))
            found = changed(self._looks[-2:], is_later=True)
        except Exception as error:  # noqa: BLE001  # of objects that nobody here wrote
            _log.info("[Protect] could not look: %s: %s", type(error).__name__, error)
            return
        self._looks = self._looks[-1:]
        paths = {each.path.removeprefix(f"{_ROOT}.") for each in found}
        new = sorted(each for each in paths if not self._is_told(each))
        self._told += new
        if new:
            _log.warning(
                "[Protect] Changes while the loop trains, and is in no checkpoint: %s. A start begins with "
                "it as the program builds it. What decides the training belongs into unbroken.Values, or "
                "into an object with state_dict() and load_state_dict().",
                ", ".join(new),
            )

    def _is_told(self, path: str) -> bool:
        return any(path == each or path.startswith(f"{each}.") for each in self._told)

    def _look(self, before: Look | None) -> Look:
        values = {n: each for n, each in self._variables().items() if n in self._names}
        return look({_ROOT: values}, SavedState(self._state.capture()), before, self._known)

    def _require_same_objects(self) -> None:
        """Compare the objects that are saved with those that the variables hold.

        Raises:
            RunMisused: Another model or optimizer is there.
        """
        now = self._variables()
        for each in self._found.saved():
            value = resolved(each.expression, now)
            if value is None or value is each.value:
                continue
            if each not in self._found.parts:
                raise refusals.replaced(each.expression)
            if each.expression not in self._told:
                self._told.append(each.expression)
                _log.warning(
                    "[Protect] %s is another object now than before the loop, and in no checkpoint: a start "
                    "begins with the one that the program builds. Change it in place, such as by "
                    "load_state_dict().",
                    each.expression,
                )
