"""Opens the encoders that features are made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from unbroken import SettingsInvalid
from unbroken_tts.data.origin import SPEAKER_MODEL
from unbroken_tts.model.base import check_base, read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.codec import Codec
from unbroken_tts.prepare.conditioning import Conditioner
from unbroken_tts.prepare.indextts.conditioner import GptConditioner
from unbroken_tts.prepare.indextts.folder import IndexTtsFiles
from unbroken_tts.prepare.indextts.semantic_codec import SemanticCodec
from unbroken_tts.prepare.indextts.speaker_conditioner import SpeakerConditioner
from unbroken_tts.prepare.indextts.speech_features import LAYER, SpeechFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """What makes codes and conditioning from sound."""

    codec: Codec
    """Makes codes."""
    conditioner: Conditioner
    """Makes conditioning rows, or speaker vectors, and emotion vectors."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """Further facts that the features are bound to, besides codec and conditioner."""


def open_encoders(
    files: IndexTtsFiles, config: GptConfig, *, device: str = "auto", layer: int = LAYER
) -> Encoders:
    """Load the encoders of IndexTTS2 2.0 or 2.5; nothing in the files is executed.

    Args:
        files: Where they are.
        config: The model that the features are for.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`: a CUDA card if there is one.
        layer: Layer of the speech model whose output to use; another than 17 is for tests.

    Raises:
        DataInvalid: A file is damaged or foreign.
        SettingsInvalid: The weights are not those of the configuration, or there is no such device.
    """
    place = _device(device)
    config = files.config_for(config)
    base = read_base(files.gpt)
    check_base(base, base.config_for(config), base.vocabulary)
    features = SpeechFeatures(files.speech_model, files.statistics, place, layer=layer)
    if files.speaker_model is not None:
        own = base.untrained_encoders
        speaker = SpeakerConditioner(config, own, files.speaker_model, features, place)
        return Encoders(
            codec=SemanticCodec(files.semantic_codec, features, place, config=files.config),
            conditioner=speaker,
            identity={SPEAKER_MODEL: speaker.speaker_fingerprint},
        )
    return Encoders(
        codec=SemanticCodec(files.semantic_codec, features, place),
        conditioner=GptConditioner(config, base.untrained_encoders, features, place),
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsInvalid(
            f"--device {name}: {' '.join(str(error).split())[:200]}.",
            "The encoders are computed there.",
            "Use --device cpu, cuda or auto.",
        ) from error
    return device
