"""A voice: weights with their tokenizer and codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken import SettingsInvalid
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.evaluate import model_from_base
from unbroken_tts.model.base import read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.published_forms import FormChoice
from unbroken_tts.prepare.codec.codec import Codec
from unbroken_tts.prepare.codec.registry import DESCRIPTION, load_codec
from unbroken_tts.prepare.fronts import DEFAULT, TextRules
from unbroken_tts.train.load import load_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """All that is needed to speak."""

    model: VoiceGpt
    """The weights."""
    tokenizer: Tokenizer
    """Encodes text."""
    codec: Codec
    """Decodes codes to sound."""
    front: str
    """The text front end of the training."""
    manifests: tuple[str, ...]
    """Manifests in which to look up speakers; by default those of the training."""
    notes: tuple[str, ...] = ()
    """Remarks on the file of weights, to be printed."""


def open_voice(
    weights: Path,
    *,
    config: Path,
    tokenizer: Path | None = None,
    codec: Path | None = None,
    manifests: Sequence[str] = (),
    choice: FormChoice | None = None,
) -> Voice:
    """Open weights with their tokenizer and codec.

    Args:
        weights: A run or one of its checkpoints, which record the other paths; or a weights file.
        config: Model configuration of a weights file; a run has its own.
        tokenizer: Its file; None uses the run's, if it still exists.
        codec: Directory of a codec; None uses the run's, or the one beside its training data.
        manifests: Paired manifests with speakers; if empty, the run's.
        choice: What a weights file doesn't say itself.

    Raises:
        NoUsableCheckpoint: The directory contains no checkpoint.
        DataInvalid: A file is missing or damaged.
        SettingsInvalid: Tokenizer or codec doesn't belong to the weights, or isn't known.
    """
    facts: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()
    if choice is not None:
        choice.require_file(weights)
    if weights.is_dir():
        loaded = load_weights(weights)
        model, facts = loaded.model, loaded.facts
    else:
        base = read_base(weights, choice)
        model, notes = model_from_base(base, GptConfig.from_yaml(config)), base.notes
    sources = facts.get("sources", {})
    rules = TextRules.of_record(facts.get("text_rules"))
    known = tuple(manifests) or tuple(sources.get("train_manifest", ()))
    return Voice(
        model=model,
        tokenizer=_tokenizer(tokenizer or _path(sources.get("tokenizer")), facts, model),
        codec=_codec(codec or _path(sources.get("codec")) or _beside(known), model.config),
        front=rules.front if rules else DEFAULT,
        manifests=known,
        notes=notes,
    )


def _path(remembered: str | None) -> Path | None:
    """Return a recorded path if it still exists."""
    path = Path(remembered) if remembered else None
    return path if path and path.exists() else None


def _beside(manifests: Sequence[str]) -> Path | None:
    """Return the codec that `prepare` wrote beside the manifests."""
    places = [Path(each).parent / "codec" for each in manifests]
    return next((place for place in places if (place / DESCRIPTION).is_file()), None)


def _tokenizer(path: Path | None, facts: Mapping[str, Any], model: VoiceGpt) -> Tokenizer:
    if path is None:
        raise SettingsInvalid(
            "No tokenizer is known for these weights.",
            "Text can only be encoded with the tokenizer the weights were trained with.",
            "Name it with --tokenizer FILE.",
        )
    tokenizer = open_tokenizer(path)
    is_another = facts and facts["tokenizer"] != tokenizer.digest
    if is_another or tokenizer.vocabulary != model.vocabulary:
        raise SettingsInvalid(
            f"The tokenizer {path} has {tokenizer.vocabulary} pieces and the digest "
            f"{tokenizer.digest[:12]}; the weights were trained with {model.vocabulary}"
            + (f" and {facts['tokenizer'][:12]}." if facts else "."),
            "The ids would stand for other pieces: the voice would say something else.",
            "Name the tokenizer of the training with --tokenizer FILE.",
        )
    return tokenizer


def _codec(path: Path | None, config: GptConfig) -> Codec:
    if path is None:
        raise SettingsInvalid(
            "No codec is known for these weights.",
            "The weights speak in codes; only the codec that made the training codes turns them "
            "into sound.",
            "Name its directory with --codec DIR; `unbroken-tts prepare` leaves it in OUTPUT/codec.",
        )
    codec = load_codec(path)
    if codec.size > config.start_mel_token:
        raise SettingsInvalid(
            f"The codec in {path} has {codec.size} codes, the weights have "
            f"{config.start_mel_token}.",
            "It is not the codec that the weights were trained with.",
            "Name the right one with --codec DIR.",
        )
    if not codec.can_decode:
        raise SettingsInvalid(
            f"The codec {codec.name} in {path} can't make sound.",
            "Its codes carry meaning; a separate vocoder makes the sound.",
            "Export the weights (`unbroken-tts export`) and speak with the full synthesis system.",
        )
    return codec
