"""Makes the text tables of a new vocabulary from those of a base.

Which row comes from where is decided by comparing the two tokenizers, before anything is loaded; here
rows are copied and averaged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch

from unbroken_tts.model.gpt_file import TEXT_TENSORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unbroken_tts.model.base import BaseWeights

RowSource: TypeAlias = "int | tuple[int, ...]"
"""A row of the base to copy, or several to average; none at all is the mean of the base's pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """Where the rows of a new vocabulary come from."""

    sources: Sequence[RowSource]
    """One for each piece of the new vocabulary; rows of the base are within 0 .. V_base - 1."""
    frozen: int
    """Number of first rows that are the base's and are not to be trained."""


def respelt(base: BaseWeights, plan: RowPlan) -> BaseWeights:
    """Return a base whose text tables have the rows of the plan, and one spare row.

    A row that is copied is bit for bit the base's. Means are computed in float64. The spare row, which
    no text uses, is the base's where the number of pieces stays, otherwise the mean.
    """
    tables = {name: _table(base.trained[name], base.vocabulary, plan) for name in TEXT_TENSORS}
    return replace(base, trained={**base.trained, **tables}, vocabulary=len(plan.sources))


def _table(table: torch.Tensor, vocabulary: int, plan: RowPlan) -> torch.Tensor:
    pieces = table[:vocabulary]
    mean = pieces.double().mean(dim=0)
    rows = torch.empty(len(plan.sources) + 1, *pieces.shape[1:])
    for number, source in enumerate(plan.sources):
        if isinstance(source, int):
            rows[number] = pieces[source]
        else:
            rows[number] = pieces[list(source)].double().mean(dim=0) if source else mean
    rows[-1] = table[vocabulary] if len(plan.sources) == vocabulary else mean
    return rows
