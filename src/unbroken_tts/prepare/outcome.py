"""Summarises a preparation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unbroken_tts.prepare.extension import Extension
from unbroken_tts.prepare.features import Extractor
from unbroken_tts.prepare.manifests import ManifestCounts
from unbroken_tts.prepare.plan import PreparePlan
from unbroken_tts.prepare.records import UtteranceRecord
from unbroken_tts.prepare.sources import RecordingFault
from unbroken_tts.prepare.summary import SpeakerSummary, Summary, histogram
from unbroken_tts.prepare.tokenizers import UnknownRate, unknown_rate_of

_MANY_UNKNOWN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedOutcome:
    """The result of a preparation."""

    every: Sequence[UtteranceRecord]
    """All recordings of the data set, by id."""
    faults: Sequence[RecordingFault]
    """The faults of omitted recordings."""
    counts: ManifestCounts
    """The numbers of lines of the manifests."""
    prepared_now: int
    """Recordings prepared in this call."""
    extension: Extension | None
    """The extension of the tokenizer, if it was made in this call."""


def summary_of(extractor: Extractor, plan: PreparePlan, made: PreparedOutcome) -> Summary:
    """Count hours, speakers, lengths and unknown tokens."""
    extension = made.extension
    every, counts = made.every, made.counts
    speakers: dict[str, list[UtteranceRecord]] = {}
    for record in every:
        speakers.setdefault(record.speaker, []).append(record)
    codec = extractor.codec
    unknown = unknown_rate_of(extractor.tokenizer, [record.text for record in every])
    return Summary(
        output=extractor.output,
        tokenizer=extractor.output / "tokenizer.model",
        vocabulary=extractor.tokenizer.vocabulary,
        codec=f"{codec.name}, {codec.size} codes, {codec.codes_per_second:.1f} per second",
        train_utterances=counts.train_utterances,
        val_utterances=counts.val_utterances,
        train_pairs=counts.train_pairs,
        val_pairs=counts.val_pairs,
        prepared_now=made.prepared_now,
        kept=len(every) - made.prepared_now,
        hours=sum(record.duration for record in every) / 3600,
        speakers=[
            SpeakerSummary(
                name=name, utterances=len(own), hours=sum(one.duration for one in own) / 3600
            )
            for name, own in sorted(speakers.items())
        ],
        histograms=[
            histogram("Duration in seconds", [one.duration for one in every], whole=False),
            histogram("Text tokens", [one.text_len for one in every], whole=True),
            histogram("Codes", [one.code_len for one in every], whole=True),
        ],
        unknown=unknown,
        unknown_before=extension.before if extension else None,
        base_texts_compared=extension.base_texts_compared if extension else 0,
        dropped=list(made.faults),
        notes=[*_notes(plan, counts, speakers, unknown), *(extension.notes() if extension else ())],
    )


def _notes(
    plan: PreparePlan,
    counts: ManifestCounts,
    speakers: Mapping[str, Sequence[UtteranceRecord]],
    unknown: UnknownRate,
) -> list[str]:
    notes = []
    if not counts.val_pairs:
        notes.append(
            f"There is no validation pair: with --val-ratio {plan.val_ratio:g}, "
            f"{counts.val_utterances} utterances were held back, and a pair needs two of one "
            "speaker. Raise --val-ratio and repeat the command; finished features are kept."
        )
    if unknown.share > _MANY_UNKNOWN:
        notes.append(
            f"{100 * unknown.share:.1f} % of the tokens are unknown to the tokenizer: the model can't "
            "read these letters. `unbroken-tts tokenizer report` names them; extend the tokenizer."
        )
    lonely = sorted(name for name, own in speakers.items() if len(own) == 1)
    if lonely:
        notes.append(
            f"{len(lonely)} speakers have only one recording and so no pair: "
            + ", ".join(lonely[:10])
        )
    return notes
