"""Checks that features, base and run belong together: one codec, and the base's own conditioner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unbroken import SettingsInvalid
from unbroken_tts.data.manifest import parse_argument
from unbroken_tts.data.origin import EMBEDDED_CONDITIONER, FeatureOrigin, origin_of
from unbroken_tts.model.conditioning_encoders import conditioning_fingerprint
from unbroken_tts.model.config import GptConfig, code_book_of
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.console import Console

_WHY = "To a model trained on other codes or other conditioning they are noise, and it unlearns what it knows."


def known_origin(settings: TrainSettings, console: Console) -> FeatureOrigin | None:
    """Return what made the features of all manifests; None if that isn't known.

    Raises:
        SettingsInvalid: The manifests have features of different kinds, or of the embedded kind for
            a configuration that names a semantic codec.
        DataInvalid: A record beside a manifest is damaged.
    """
    manifests = (*settings.train_manifest, *settings.val_manifest)
    origins = {each: origin_of(Path(parse_argument(each).path)) for each in manifests}
    known = {each: origin for each, origin in origins.items() if origin is not None}
    code_book = code_book_of(settings.config)
    if code_book is not None:
        _require_real(known, settings, code_book)
        unknown = [each for each, origin in origins.items() if origin is None]
        if unknown:
            console.line(
                f"NOTE: {', '.join(unknown)}: the features were made by another tool; which codec and "
                "which conditioner made them is unknown, and nothing was assumed"
            )
    different = sorted({_named(origin) for origin in known.values()})
    if len(different) > 1:
        raise SettingsInvalid(
            f"The manifests have features of different kinds: {'; '.join(different)}.",
            _WHY,
            "Use manifests whose features were made with the same encoders.",
        )
    return next(iter(known.values()), None)


def _require_real(
    known: Mapping[str, FeatureOrigin], settings: TrainSettings, code_book: int
) -> None:
    embedded = {each: origin for each, origin in known.items() if origin.is_embedded}
    if not embedded:
        return
    manifest, origin = next(iter(embedded.items()))
    raise SettingsInvalid(
        f"{settings.config} names a semantic codec of {code_book} codes, and the features of {manifest} "
        f"were made with {origin.codec} and {origin.conditioner}.",
        _WHY,
        "Make the right ones with the encoders of IndexTTS2: unbroken-tts prepare RECORDINGS --output "
        f"NEW_DIRECTORY --indextts {settings.config.parent} --tokenizer {settings.tokenizer}",
    )


def require_own_version(
    origin: FeatureOrigin | None, config: GptConfig, settings: TrainSettings
) -> None:
    """Refuse features of IndexTTS-2.5 for a model of 2.0, and those of 2.0 for one of 2.5.

    Args:
        origin: What made the features; the embedded kind makes them in the shape of any model.
        config: The model.
        settings: The settings of this start.

    Raises:
        SettingsInvalid: They are of the other version.
    """
    if origin is None or origin.is_embedded:
        return
    if origin.has_speaker_vectors == config.takes_speaker_vectors:
        return
    made, wanted = ("IndexTTS-2.5", "2.0") if origin.has_speaker_vectors else ("2.0", "2.5")
    raise SettingsInvalid(
        f"The features were made for a model of {made}, and this one is of {wanted}.",
        _WHY,
        "Make the right ones with the encoders of this model: unbroken-tts prepare RECORDINGS --output "
        f"NEW_DIRECTORY --indextts {settings.config.parent} --tokenizer {settings.tokenizer}",
    )


def require_own_conditioner(
    origin: FeatureOrigin | None, encoders: Mapping[str, torch.Tensor] | None, base: str
) -> None:
    """Compare what made the conditioning with the encoders of the base.

    Args:
        origin: What made the features.
        encoders: The untrained encoders of a new run; None when a checkpoint is resumed.
        base: Where they came from, for messages.

    Raises:
        SettingsInvalid: Other encoders made the features.
    """
    if origin is None or encoders is None or origin.conditioner == EMBEDDED_CONDITIONER:
        return
    found = conditioning_fingerprint(encoders)
    if found != origin.conditioner_fingerprint:
        raise SettingsInvalid(
            f"The features were made with the conditioning encoders {origin.conditioner_fingerprint[:12]}"
            f", {base} has {found[:12]}.",
            "An exported model conditions its voice with its own encoders; trained on those of another "
            "file, it would not know what they say.",
            "Train from the gpt.pth that the features were made with, or prepare the data again with "
            "--indextts. A bfloat16 copy of that file counts as another; one in float16 or float32, and "
            "--init-from RUN, do not.",
        )


def require_same_codec(origin: FeatureOrigin | None, facts: Mapping[str, Any], base: str) -> None:
    """Compare the codec of the features with that of the run whose weights are taken.

    Raises:
        SettingsInvalid: It was trained on the codes of another codec.
    """
    before = facts.get("features")
    if origin is None or not before or before["codec_fingerprint"] == origin.codec_fingerprint:
        return
    raise SettingsInvalid(
        f"The run {base} was trained on codes of {before['codec']} {before['codec_fingerprint'][:12]}, "
        f"the features have those of {origin.codec} {origin.codec_fingerprint[:12]}.",
        _WHY,
        "Begin from weights that know these codes, or make the features with that codec.",
    )


def _named(origin: FeatureOrigin) -> str:
    speaker = f" and {origin.speaker_model[:12]}" if origin.speaker_model else ""
    return (
        f"{origin.codec} {origin.codec_fingerprint[:12]} with {origin.conditioner} "
        f"{origin.conditioner_fingerprint[:12]}{speaker}"
    )


def origin_facts(origin: FeatureOrigin | None) -> dict[str, str] | None:
    """Return the origin as a fact of the run; None if it isn't known."""
    return origin.facts() if origin is not None else None
