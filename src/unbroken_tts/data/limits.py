"""The model's limits, which every sample must respect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes of the model's tables, taken from its configuration and tokenizer."""

    vocabulary: int
    """Number of pieces V of the tokenizer; text ids are in [0, V)."""
    start_mel_token: int
    """First id after the code book; codes are in [0, start_mel_token)."""
    max_text_tokens: int
    """Longest text in tokens; the position table has two rows more, for start and stop."""
    max_mel_tokens: int
    """Bound of the codes; the position table has three rows more, so one code more fits."""
    condition_rows: int
    """Rows of the speaker conditioning, 32 in the real model, 1 in that of 2.5."""
    model_dim: int
    """Width D of the conditioning and of the emotion vector."""
    condition_width: int | None = None
    """Width of the conditioning, if it is not D: 192 for the speaker vectors of 2.5."""
    first_language_id: int = -1
    """Id of the first language token, with which every text of IndexTTS-2.5 begins."""
    languages: tuple[str, ...] = ()
    """The languages that have such tokens, in their order; none for other vocabularies."""
    first_text_id: int = 0
    """First id that a text may contain; those before it are start, stop and other control pieces."""

    @property
    def condition_shape(self) -> tuple[int, int]:
        """Return rows and columns of a sample's conditioning."""
        width = self.model_dim if self.condition_width is None else self.condition_width
        return self.condition_rows, width

    @property
    def longest_text(self) -> int:
        """Return the largest allowed T, in tokens."""
        return self.max_text_tokens

    @property
    def longest_codes(self) -> int:
        """Return the largest allowed M, in codes: M + 2 inputs in max_mel_tokens + 3 rows."""
        return self.max_mel_tokens + 1
