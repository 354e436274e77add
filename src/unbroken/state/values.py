"""Plain values that are saved with a run: a best score, a count, a list of losses."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any


class Values(SimpleNamespace):
    """Named values that a checkpoint keeps, and a resume puts back.

    Numbers, texts, lists, dicts and tensors, as attributes:
    `values = unbroken.Values(best=0.0, waited=0)`, declared by `Run(..., values=values)` or found
    by `unbroken.protect`, and used as `values.best`. One that a program declares later begins as the
    program sets it, and the resume names it.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take saved values in; others of the same names are overwritten."""
        vars(self).update(copy.deepcopy(state))
