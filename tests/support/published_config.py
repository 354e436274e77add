"""The configuration of the published IndexTTS2 models."""

from __future__ import annotations

from typing import Any

from unbroken_tts.model.config import ConditionModule, GptConfig


def published_config(**changes: Any) -> GptConfig:
    """Return the one that IndexTTS2 2.0 ships; `changes` replaces fields."""
    fields: dict[str, Any] = {
        "model_dim": 1280,
        "layers": 24,
        "heads": 20,
        "max_mel_tokens": 1815,
        "max_text_tokens": 600,
        "number_mel_codes": 8194,
        "start_mel_token": 8192,
        "stop_mel_token": 8193,
        "condition_module": ConditionModule(
            output_size=512, linear_units=2048, attention_heads=8, num_blocks=6, perceiver_mult=2
        ),
        "emo_condition_module": ConditionModule(
            output_size=512, linear_units=1024, attention_heads=4, num_blocks=4, perceiver_mult=2
        ),
    }
    return GptConfig(**(fields | changes))
