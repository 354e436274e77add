"""Tells which model a set of tensors is, from their names and shapes alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from unbroken import SettingsInvalid
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt_file import LANGUAGE_TENSOR, SPEAKER_TENSOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unbroken_tts.model.gpt_file import Shape

SUPPORTED: Final = ("IndexTTS2 2.0", "IndexTTS-2.5")
"""The layouts that this program trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of models."""

    layout: str
    """Which tensors it has, by the name of the version that has them."""
    name: str
    """The version; the layout, and what is another size, where it is none that was published."""
    difference: str = ""
    """How it differs from what is supported, as half a sentence."""


@dataclass(frozen=True, slots=True)
class _Size:
    """The sizes in which published versions differ."""

    width: int
    layers: int
    mel_codes: int
    mel_positions: int
    text_positions: int

    def __str__(self) -> str:
        return f"width {self.width}, {self.layers} layers, {self.mel_codes} mel codes"


# From the config.yaml that each version ships; `mel_positions` and `text_positions` are the rows of
# the tables, 3 and 2 more than the configuration's numbers.
_PUBLISHED: Final = {
    "IndexTTS 1.0": _Size(1024, 20, 8194, 608, 404),
    "IndexTTS 1.5": _Size(1280, 24, 8194, 803, 602),
    "IndexTTS2 2.0": _Size(1280, 24, 8194, 1818, 602),
    "IndexTTS-2.5": _Size(1280, 24, 8194, 1818, 602),
}


def family_of(shapes: Mapping[str, Shape]) -> Family | None:
    """Return the family of a model; None if it is none that is known.

    Args:
        shapes: Plain name -> shape.
    """
    layout, difference = _layout(shapes)
    if not layout:
        return None
    size = _size(shapes)
    versions = [layout] if layout in _PUBLISHED else ["IndexTTS 1.0", "IndexTTS 1.5"]
    known = [version for version in versions if _PUBLISHED[version] == size]
    name = known[0] if known else f"the layout of {layout}, but another size ({size})"
    return Family(layout=layout, name=name, difference=difference)


def _layout(shapes: Mapping[str, Shape]) -> tuple[str, str]:
    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in shapes)

    tables = ("text_embedding.weight", "mel_embedding.weight", "mel_head.weight")
    if any(len(shapes.get(name, ())) != 2 for name in tables):
        return "", ""
    if has("spk_emb_proj.") or has("lang_embedding."):
        return SUPPORTED[1], ""
    if not has("conditioning_encoder.encoders."):
        return "", ""
    if has("emo_conditioning_encoder.") or has("emovec_layer."):
        return SUPPORTED[0], ""
    return "IndexTTS 1", "1.0 and 1.5 have no emotion encoder and other codes"


def _size(shapes: Mapping[str, Shape]) -> _Size:
    def rows(name: str) -> int:
        return shapes.get(name, (0,))[0]

    blocks = {found[1] for name in shapes if (found := re.match(r"gpt\.h\.(\d+)\.", name))}
    return _Size(
        width=shapes["mel_embedding.weight"][-1],
        layers=len(blocks),
        mel_codes=rows("mel_embedding.weight"),
        mel_positions=rows("mel_pos_embedding.emb.weight"),
        text_positions=rows("text_pos_embedding.emb.weight"),
    )


TOLD: Final = ("speed_rows", "spk_cond_mode", "language_rows")
"""Fields of a `GptConfig` that only the weights tell."""


def told_by(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Return the fields of `TOLD`.

    The `config.yaml` that 2.5 ships says version 2.0, and describes the encoder that it doesn't have.

    Args:
        shapes: Plain name -> shape.
    """
    table = shapes.get(LANGUAGE_TENSOR, ())
    rows = table[0] if len(table) == 2 else 0
    return {
        "speed_rows": "speed_emb.weight" in shapes,
        "spk_cond_mode": "campplus" if SPEAKER_TENSOR in shapes else "conformer",
        "language_rows": rows,
    }


def config_from_shapes(shapes: Mapping[str, Shape]) -> GptConfig | None:
    """Return a configuration of the supported layout whose shapes these are, as far as they tell.

    The number of attention heads can't be seen from shapes; it is that of heads 64 wide, as in every
    published version, or 1. The start and stop codes are the last two.

    Args:
        shapes: Plain name -> shape.
    """
    try:
        size = _size(shapes)
        values: dict[str, Any] = {
            "model_dim": size.width,
            "layers": size.layers,
            "heads": size.width // 64 if size.width % 64 == 0 else 1,
            "max_mel_tokens": size.mel_positions - 3,
            "max_text_tokens": size.text_positions - 2,
            "number_mel_codes": size.mel_codes,
            "start_mel_token": size.mel_codes - 2,
            "stop_mel_token": size.mel_codes - 1,
            **told_by(shapes),
            "emo_condition_module": _module(shapes, "emo_"),
        }
        if values["spk_cond_mode"] == "campplus":
            values["condition_module"] = values["emo_condition_module"]  # it has none of its own
        else:
            values["condition_module"] = _module(shapes, "")
            values["condition_num_latent"] = shapes["perceiver_encoder.latents"][0]
        return GptConfig.from_mapping(values, origin="the shapes")
    except (LookupError, SettingsInvalid):
        return None


def _module(shapes: Mapping[str, Shape], prefix: str) -> dict[str, Any]:
    encoder, perceiver = f"{prefix}conditioning_encoder", f"{prefix}perceiver_encoder"
    pattern = re.compile(rf"{encoder}\.encoders\.(\d+)\.")
    width = shapes[f"{perceiver}.latents"][-1]
    inner = shapes[f"{perceiver}.layers.0.1.2.weight"][-1]
    return {
        "output_size": shapes[f"{encoder}.after_norm.weight"][0],
        "linear_units": shapes[f"{encoder}.encoders.0.feed_forward.w_1.weight"][0],
        "attention_heads": shapes[f"{encoder}.encoders.0.self_attn.pos_bias_u"][0],
        "num_blocks": len({found[1] for name in shapes if (found := pattern.match(name))}),
        # The inner width is floor(width * mult * 2 / 3); the half keeps rounding away from its edge.
        "perceiver_mult": (inner + 0.5) * 1.5 / width,
    }
