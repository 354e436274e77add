"""Scores of each language, and a warning when an old one gets worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unbroken import Mix
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.evaluate import Scores
from unbroken_tts.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageScore:
    """The losses of one language's validation samples, means over their tokens."""

    language: str
    text_loss: float
    mel_loss: float
    mel_top1: float
    loss: float
    """The weighted loss."""


def by_language(
    scores: Scores, languages: Mapping[str, str], settings: TrainSettings
) -> list[LanguageScore]:
    """Return the scores of each language, by name; empty if there is only one.

    Args:
        scores: Of all samples.
        languages: Pair id -> language.
        settings: The weights of the losses.
    """
    samples: dict[str, set[str]] = {}
    for each in scores.per_sample:
        samples.setdefault(languages.get(each.id, ""), set()).add(each.id)
    if len(samples) < 2:
        return []
    return [_score(name, scores.part(samples[name]), settings) for name in sorted(samples)]


def _score(name: str, own: Scores, settings: TrainSettings) -> LanguageScore:
    return LanguageScore(
        language=name or "unnamed",
        text_loss=own.text_loss,
        mel_loss=own.mel_loss,
        mel_top1=own.mel_top1,
        loss=settings.text_loss_weight * own.text_loss + settings.mel_loss_weight * own.mel_loss,
    )


def new_language(pairs: Pairs) -> str:
    """Return the language with the most training tokens: the one that is learnt."""
    tokens: Counter[str] = Counter()
    for language, length in zip(
        pairs.languages, (pairs.text_lengths + pairs.code_lengths).tolist(), strict=True
    ):
        tokens[language] += length
    return max(sorted(tokens), key=lambda name: tokens[name])


def learnt_language(settings: TrainSettings, pairs: Pairs, mix: Mix | None) -> str:
    """Return the language that is learnt: the one asked for, of the largest share, or of most tokens."""
    if settings.language is not None and settings.language in pairs.languages:
        return settings.language
    return new_language(pairs) if mix is None else mix.leading


def forgotten(
    scores: Sequence[LanguageScore],
    before: Mapping[str, float],
    *,
    learnt: str,
    guard: float,
) -> list[str]:
    """Return a warning for each old language that got worse by more than the guard.

    Args:
        scores: Of this validation.
        before: Language -> weighted loss at the first validation.
        learnt: The language that is learnt; it isn't compared.
        guard: Largest accepted growth of the loss, as a share; 0 accepts any.
    """
    return [
        f"WARNING: {each.language} got worse: val_loss {each.loss:.4f}, was "
        f"{before[each.language]:.4f} at first ({100 * (each.loss / before[each.language] - 1):+.1f} "
        f"%, --forgetting-guard {100 * guard:g} %). Give it a larger share with --mix, or lower the "
        "learning rate."
        for each in scores
        if guard
        and each.language != learnt
        and each.language in before
        and each.loss > before[each.language] * (1 + guard)
    ]
