"""An embedding and a linear head whose first rows are frozen.

A gradient mask does not freeze rows: AdamW's decoupled weight decay and old momentum still change
them. Here the frozen rows are buffers, so they have no gradient, no optimiser state and no decay;
the other rows are ordinary parameters, and the two are joined in the forward pass.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class ExtendedEmbedding(nn.Module):
    """An embedding table of `rows` rows, the first `frozen` of which never change.

    With `frozen=0` it is a plain trainable embedding whose parameter is called `extension`.

    Args:
        rows: Rows of the joined table.
        width: Columns.
        frozen: Rows 0 .. frozen - 1 are a buffer; at most `rows`.
    """

    base: torch.Tensor | None

    def __init__(self, rows: int, width: int, frozen: int = 0) -> None:
        super().__init__()
        _check_rows(rows, frozen)
        self.frozen = frozen
        self.register_buffer("base", torch.zeros(frozen, width) if frozen else None)
        self.extension = nn.Parameter(torch.zeros(rows - frozen, width))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Look up rows.

        Args:
            ids: int64 in [0, rows), any shape.

        Returns:
            float32, the shape of `ids` and the width.
        """
        if self.base is None:
            return functional.embedding(ids, self.extension)
        base = functional.embedding(ids.clamp(max=self.frozen - 1), self.base)
        if self.extension.shape[0] == 0:
            return base
        # Two lookups touch only the rows of the ids; joining the tables would copy all rows in
        # each forward pass.
        extension = functional.embedding((ids - self.frozen).clamp(min=0), self.extension)
        return torch.where((ids < self.frozen).unsqueeze(-1), base, extension)

    def joined(self) -> torch.Tensor:
        """Return a copy of the whole table: (rows, width) float32, without gradient."""
        return _joined(self.base, self.extension)

    def fill(self, table: torch.Tensor) -> None:
        """Copy a whole table, (rows, width), into the frozen and the trainable rows."""
        _fill(self.base, self.extension, table)


class ExtendedLinear(nn.Module):
    """A linear layer with bias whose first `frozen` outputs never change.

    With `frozen=0` it is a plain trainable layer.

    Args:
        width: Inputs.
        rows: Outputs.
        frozen: Outputs 0 .. frozen - 1 are computed from buffers; at most `rows`.
    """

    base_weight: torch.Tensor | None
    base_bias: torch.Tensor | None

    def __init__(self, width: int, rows: int, frozen: int = 0) -> None:
        super().__init__()
        _check_rows(rows, frozen)
        self.register_buffer("base_weight", torch.zeros(frozen, width) if frozen else None)
        self.register_buffer("base_bias", torch.zeros(frozen) if frozen else None)
        self.extension_weight = nn.Parameter(torch.zeros(rows - frozen, width))
        self.extension_bias = nn.Parameter(torch.zeros(rows - frozen))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits, (..., rows), for hidden states, (..., width)."""
        extension = functional.linear(hidden, self.extension_weight, self.extension_bias)
        if self.base_weight is None:
            return extension
        # The logits are joined, not the weights, so no gradient of the frozen rows is computed.
        base = functional.linear(hidden, self.base_weight, self.base_bias)
        return torch.cat([base, extension], dim=-1)

    def joined(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return copies of the whole weight, (rows, width), and bias, (rows,)."""
        return (
            _joined(self.base_weight, self.extension_weight),
            _joined(self.base_bias, self.extension_bias),
        )

    def fill(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Copy a whole weight, (rows, width), and bias, (rows,), into both kinds of rows."""
        _fill(self.base_weight, self.extension_weight, weight)
        _fill(self.base_bias, self.extension_bias, bias)


def _check_rows(rows: int, frozen: int) -> None:
    if not 0 <= frozen <= rows:
        raise ValueError(f"{frozen} of {rows} rows can't be frozen")


def _joined(base: torch.Tensor | None, extension: torch.Tensor) -> torch.Tensor:
    if base is None:
        return extension.detach().clone()
    return torch.cat([base, extension.detach()])


@torch.no_grad()
def _fill(base: torch.Tensor | None, extension: torch.Tensor, table: torch.Tensor) -> None:
    frozen = 0 if base is None else base.shape[0]
    if base is not None:
        base.copy_(table[:frozen])
    extension.copy_(table[frozen:])
