"""The first updates after a resume: frozen rows don't move, and what is trained gets gradients.

A mask that was not put back shows in the first update. A parameter, or the rows of a table that are not
frozen, may go without a gradient for some steps; for a hundred it is cut off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import torch

from unbroken.state.frozen import Rows, shown_rows

STEPS: Final = 100
"""Steps after which a trained parameter should have had a gradient."""
FIRST_ENTRIES: Final = 4096
"""Entries that are looked at before all of a gradient is."""
MOMENTS: Final = ("exp_avg", "momentum_buffer")
"""What optimisers call the mean of a parameter's gradients."""


class FirstUpdates:
    """Looks at a step before and after its update, as long as there is something to learn.

    Args:
        trained: What an optimiser updates, by leaf path.
        frozen: Tensors, or ranges of their rows, that nothing may move.
        optimizers: Their moments tell which parameters had gradients before.
    """

    def __init__(
        self,
        trained: Mapping[str, torch.Tensor],
        frozen: Mapping[str, Rows],
        optimizers: Iterable[torch.optim.Optimizer],
    ) -> None:
        self._trained = trained
        self._frozen = {path: rows for path, rows in frozen.items() if path in trained}
        self._optimizers = list(optimizers)
        self._waiting = list(trained)
        self._steps = 0
        self._is_first = True
        self._is_held = False
        self._held: dict[str, torch.Tensor] = {}
        self._with_gradient: set[str] = set()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be said."""
        return self._steps >= STEPS or not (self._is_first or self._waiting)

    def before(self, stepped: Collection[str] = ()) -> list[str]:
        """Look at the gradients that are about to be applied.

        Args:
            stepped: Leaf paths of what was updated in this step already, with gradients that are gone.

        Returns:
            At the last step that is looked at: what is trained, had gradients before the resume, and
            has had none since.
        """
        self._steps += 1
        self.hold()
        self._waiting = [
            path
            for path in self._waiting
            if path not in stepped and not _any(self._free_rows(path, self._gradient(path)))
        ]
        if self._steps < STEPS:
            return []
        return [path for path in self._waiting if self._had_gradients(path)]

    def after(self) -> dict[str, bool]:
        """Return the frozen rows that the first update moved, and whether they had a gradient."""
        held, self._held, self._is_first = self._held, {}, False
        return {
            shown_rows(path, self._frozen[path]): path in self._with_gradient
            for path, before in held.items()
            if not torch.equal(before, _rows(self._trained[path].detach(), self._frozen[path]))
        }

    def hold(self) -> None:
        """Keep the frozen rows as they are before the first update."""
        if self._is_held:
            return
        self._is_held = True
        for path, rows in self._frozen.items():
            self._held[path] = _rows(self._trained[path].detach(), rows).clone()
            gradient = self._gradient(path)
            if gradient is not None and _any([_rows(gradient, rows)]):
                self._with_gradient.add(path)

    def _gradient(self, path: str) -> torch.Tensor | None:
        gradient = self._trained[path].grad
        return None if gradient is None else gradient.detach()

    def _free_rows(self, path: str, tensor: torch.Tensor | None) -> list[torch.Tensor]:
        """Return the rows of a tensor of a parameter that are not frozen, in pieces."""
        if tensor is None:
            return []
        if path not in self._frozen or tensor.layout is not torch.strided:
            return [tensor]
        rows = self._frozen[path]
        if rows is None:
            return []
        start, stop, _ = rows.indices(len(tensor))
        return [tensor[:start], tensor[stop:]]

    def _had_gradients(self, path: str) -> bool:
        parameter = self._trained[path]
        held = [each.state.get(parameter, {}) for each in self._optimizers]
        moments = [state[key] for state in held for key in MOMENTS if key in state]
        tensors = [each for each in moments if isinstance(each, torch.Tensor)]
        return any(_any(self._free_rows(path, each.detach())) for each in tensors)


def _rows(tensor: torch.Tensor, rows: Rows) -> torch.Tensor:
    return tensor if rows is None or tensor.layout is not torch.strided else tensor[rows]


def _any(pieces: Sequence[torch.Tensor]) -> bool:
    """Say whether one entry is not zero; the first few mostly tell."""
    for each in pieces:
        if each.layout is not torch.strided:
            return True  # only what has a gradient is in it
        if each.is_contiguous() and bool(each.reshape(-1)[:FIRST_ENTRIES].any()):
            return True
        if bool(each.any()):
            return True
    return False
