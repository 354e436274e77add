"""What became of the base's rows in an old run, against the base itself.

The earlier trainer set their gradients to zero; decoupled weight decay and old momentum moved them
all the same (Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from unbroken import SettingsInvalid, counted
from unbroken_tts.model.gpt_file import TEXT_TENSORS

if TYPE_CHECKING:
    from unbroken_tts.model.base import BaseWeights
    from unbroken_tts.rescue.whole import WholeCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDrift:
    """How far the base's rows of one tensor are from the base."""

    name: str
    rows: int
    """Rows that are compared."""
    moved: int
    """Rows that differ in at least one bit."""
    relative: float
    """Norm of the difference, as a share of the base's norm."""
    shrunk: float
    """Norm of the rows, as a share of the base's norm."""

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.moved} of {counted(self.rows, 'base row')} moved, by "
            f"{self.relative:.2%} of their norm (which is {self.shrunk:.5f} of the base's)"
        )


def drift(whole: WholeCheckpoint, base: BaseWeights) -> list[RowDrift]:
    """Return how far each text tensor's base rows moved; empty where the shapes don't fit."""
    found = []
    for name in TEXT_TENSORS:
        mine, theirs = whole.weights.trained[name], base.trained[name][: base.vocabulary]
        if mine.shape[1:] != theirs.shape[1:] or len(mine) < len(theirs):
            return []
        rows = mine[: len(theirs)].double().reshape(len(theirs), -1)
        there = theirs.double().reshape(len(theirs), -1)
        norm = max(there.norm().item(), torch.finfo(torch.float64).tiny)
        found.append(
            RowDrift(
                name=name,
                rows=len(theirs),
                moved=int((rows != there).any(dim=1).sum()),
                relative=(rows - there).norm().item() / norm,
                shrunk=rows.norm().item() / norm,
            )
        )
    return found


def rows_with_momentum(whole: WholeCheckpoint, frozen: int) -> int:
    """Return how many of the first `frozen` rows of the text tables Adam would still move."""
    if not frozen:
        return 0
    means = [whole.moments[name].exp_avg[:frozen].reshape(frozen, -1) for name in TEXT_TENSORS]
    return int(torch.cat(means, dim=1).ne(0).any(dim=1).sum())


def restored(whole: WholeCheckpoint, base: BaseWeights | None, frozen: int) -> BaseWeights:
    """Return the weights with the first `frozen` text rows as in the base, to the bit.

    Raises:
        SettingsInvalid: No rows are frozen, or there is no base that has them.
    """
    if base is None or not frozen or base.vocabulary < frozen or not drift(whole, base):
        there = "there is no base checkpoint" if base is None else f"{base.origin} has others"
        raise SettingsInvalid(
            "--restore-base-rows was given, but "
            f"{there if frozen else 'no row of the text tables is frozen'}.",
            "Only rows that were meant to stay the base's can be put back; the others were trained.",
            "Omit --restore-base-rows, or name the gpt.pth of the old run with --base-checkpoint.",
        )
    trained = dict(whole.weights.trained)
    for name in TEXT_TENSORS:
        table = trained[name].clone()
        table[:frozen] = base.trained[name][:frozen]
        trained[name] = table
    return replace(whole.weights, trained=trained)
