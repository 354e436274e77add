"""The summary of a preparation, in numbers and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unbroken_tts.prepare.sources import RecordingFault
from unbroken_tts.prepare.tokenizers import UnknownRate

_BAR = 30
_BINS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts of values in equal steps."""

    name: str
    """The quantity, with its unit."""
    edges: list[float]
    """Edges of the bins: one more than `counts`."""
    counts: list[int]
    """Number of values from each edge up to the next; the last bin includes its upper edge."""
    smallest: float
    """The smallest value."""
    median: float
    """The median."""
    largest: float
    """The largest value."""


def _round_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that at most `_BINS` steps cover `span`."""
    raw = max(span / _BINS, 1e-9)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))


def histogram(name: str, values: Sequence[float], *, whole: bool) -> Histogram:
    """Count `values` in at most ten bins of a round size.

    Args:
        name: The quantity, with its unit.
        values: At least one.
        whole: Whether the edges must be whole numbers.
    """
    ordered = sorted(values)
    step = _round_step(ordered[-1] - ordered[0])
    if whole:
        step = max(1.0, step)
    low = math.floor(ordered[0] / step) * step
    bins = max(1, math.floor((ordered[-1] - low) / step + 1e-9) + 1)
    counts = [0] * bins
    for value in ordered:
        counts[min(int((value - low) / step + 1e-9), bins - 1)] += 1
    return Histogram(
        name=name,
        edges=[round(low + number * step, 6) for number in range(bins + 1)],
        counts=counts,
        smallest=ordered[0],
        median=ordered[len(ordered) // 2],
        largest=ordered[-1],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerSummary:
    """The utterances of one speaker."""

    name: str
    """Name in the source."""
    utterances: int
    """Recordings."""
    hours: float
    """Hours of sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The summary of a preparation."""

    output: Path
    """Directory of the data set."""
    tokenizer: Path
    """The tokenizer of the text ids."""
    vocabulary: int
    """Its pieces."""
    codec: str
    """Name, size and rate of the codec."""
    train_utterances: int
    """Lines of `train.jsonl`."""
    val_utterances: int
    """Lines of `val.jsonl`."""
    train_pairs: int
    """Lines of `train_pairs.jsonl`."""
    val_pairs: int
    """Lines of `val_pairs.jsonl`."""
    prepared_now: int
    """Recordings prepared in this call."""
    kept: int
    """Recordings finished in earlier calls and used as they were."""
    hours: float
    """Hours of sound."""
    speakers: list[SpeakerSummary]
    """By name."""
    histograms: list[Histogram]
    """Durations, text lengths, code lengths."""
    unknown: UnknownRate
    """Unknown rate of all texts with the tokenizer."""
    unknown_before: UnknownRate | None
    """The same with the base, if the tokenizer was extended in this call."""
    base_texts_compared: int
    """Texts in the old language whose ids were verified, if it was extended in this call."""
    dropped: list[RecordingFault]
    """The omitted recordings."""
    notes: list[str]
    """Notes for the user."""

    def text(self) -> str:
        """Return the summary as about twenty lines of text."""
        recordings = self.train_utterances + self.val_utterances
        lines = [
            f"Prepared   {recordings} recordings, {self.hours:.2f} h ({self.prepared_now} now, {self.kept} kept)",
            f"Train      {self.train_utterances} utterances, {self.train_pairs} pairs",
            f"Validation {self.val_utterances} utterances, {self.val_pairs} pairs",
            f"Tokenizer  {self.tokenizer} ({self.vocabulary} pieces)",
            f"Unknown    {self.unknown}",
        ]
        if self.unknown_before is not None:
            lines.append(f"  before   {self.unknown_before}")
            lines.append(
                f"  old ids  unchanged; {self.base_texts_compared} texts in the old language verified"
            )
        lines.append(f"Codec      {self.codec}")
        lines.append(f"Speakers   {len(self.speakers)}")
        shown = self.speakers[:20]
        lines += [f"  {one.name}: {one.utterances}, {one.hours:.2f} h" for one in shown]
        if len(shown) < len(self.speakers):
            lines.append(f"  and {len(self.speakers) - len(shown)} more")
        for each in self.histograms:
            lines += _drawn(each)
        lines += [f"Omitted    {fault.where}: {fault.what}" for fault in self.dropped]
        lines += [f"Note       {note}" for note in self.notes]
        return "\n".join(lines)


def _drawn(shape: Histogram) -> list[str]:
    most = max(shape.counts)
    lines = [
        f"{shape.name}: {shape.smallest:.4g} to {shape.largest:.4g}, median {shape.median:.4g}",
    ]
    for low, high, count in zip(shape.edges, shape.edges[1:], shape.counts, strict=False):
        bar = "#" * round(_BAR * count / most)
        lines.append(f"  {low:8g} - {high:<8g} {count:7d} {bar}".rstrip())
    return lines
