"""The language table of IndexTTS-2.5: a row per language, of which a run trains one.

The row of a sample's language is added at each of its text positions. Which language that is, the
first token of the text says: the vocabulary has a token per language, in the order of the table.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from unbroken import SettingsInvalid

_BEHIND_FIRST_LANGUAGE = 1671
"""Ids from that of `<|en|>` to the end of the vocabulary: 99 languages, then 1,572 other special
tokens (`get_encoding` in indextts/utils/tokenizer.py of the original)."""


def first_language_id(vocabulary: int) -> int:
    """Return the id of the first language token, `<|en|>`, in a vocabulary of so many ids.

    Raises:
        ValueError: It is too small to have the special tokens.
    """
    if vocabulary < _BEHIND_FIRST_LANGUAGE + 2:
        raise ValueError(f"a vocabulary of {vocabulary} ids has no language tokens")
    return vocabulary - _BEHIND_FIRST_LANGUAGE


class LanguageTable(nn.Module):
    """A table of R rows, one of which is trained; the others are a buffer and never change.

    Args:
        rows: Rows (R).
        width: Columns (D).
        trained: The row that is trained; None for none.
    """

    base: torch.Tensor

    def __init__(self, rows: int, width: int, trained: int | None) -> None:
        super().__init__()
        if trained is not None and not 0 <= trained < rows:
            raise SettingsInvalid(
                f"The language row {trained} is to be trained, and the table has {rows} rows.",
                "What the run learnt would stand in the row of another language.",
                "Use the version that wrote the run, or a newer one.",
            )
        self.trained = trained
        self.register_buffer("base", torch.zeros(rows, width))
        self.row = None if trained is None else nn.Parameter(torch.zeros(1, width))

    def forward(self, languages: torch.Tensor) -> torch.Tensor:
        """Look up rows: int64 (N,) in [0, R) -> (N, D) float32."""
        base = functional.embedding(languages, self.base)
        if self.row is None:
            return base
        is_trained = languages.eq(-1 if self.trained is None else self.trained)
        return torch.where(is_trained.unsqueeze(-1), self.row, base)

    def joined(self) -> torch.Tensor:
        """Return a copy of the whole table: (R, D) float32, without gradient."""
        table = self.base.clone()
        if self.row is not None:
            table[self.trained] = self.row.detach()[0]
        return table

    @torch.no_grad()
    def fill(self, table: torch.Tensor) -> None:
        """Copy a whole table, (R, D), into both kinds of rows."""
        self.base.copy_(table)
        if self.row is not None:
            self.row.copy_(table[self.trained].unsqueeze(0))

    @torch.no_grad()
    def start_from(self, language: int) -> None:
        """Let the trained row start as another one."""
        if self.row is not None:
            self.row.copy_(self.base[language].unsqueeze(0))
