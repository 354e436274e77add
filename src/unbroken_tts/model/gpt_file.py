"""Names and shapes of all tensors in a `gpt.pth`, in the order of the file.

The inference program loads strictly, so an export must have exactly these. Letters: D model width,
V text vocabulary, K mel codes; C, U, A, B, P: output_size, linear_units, attention_heads, num_blocks,
perceiver_mult of a conditioning module; E width, L latents of a perceiver.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from unbroken_tts.model.config import SPEAKER_WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unbroken_tts.model.config import ConditionModule, GptConfig

Shape: TypeAlias = tuple[int, ...]

EMOTION_WIDTH = 1024
"""Width of the emotion perceiver; fixed by the original's architecture, not by its configuration."""
POSITIONAL_ROWS = 5000
"""Rows of the sin/cos table of a conformer."""
SPEECH_WIDTH = 1024
"""Width of the speech features that the conformers take; that of w2v-bert-2.0."""
SUBSAMPLED_BINS = 511
"""Features that the conv2d2 input layer leaves of them."""

TEXT_TENSORS = ("text_embedding.weight", "text_head.weight", "text_head.bias")
"""The tensors whose rows are text tokens: V pieces and one spare row."""
LANGUAGE_TENSOR = "lang_embedding.weight"
"""The language table of IndexTTS-2.5."""
SPEAKER_TENSOR = "spk_emb_proj.weight"
"""What projects a speaker vector in IndexTTS-2.5."""

_TRAINED_PREFIXES = (
    "text_embedding.",
    "mel_embedding.",
    "gpt.",
    "mel_pos_embedding.",
    "text_pos_embedding.",
    "final_norm.",
    "text_head.",
    "mel_head.",
    "speed_emb.",
    "spk_emb_proj.",
    "lang_embedding.",
)


def is_trained(name: str) -> bool:
    """Return whether a tensor of this name is trained; others are passed through unchanged."""
    return name.startswith(_TRAINED_PREFIXES)


def gpt_file_shapes(config: GptConfig, vocabulary: int) -> dict[str, Shape]:
    """Return name -> shape of all tensors of a `gpt.pth`, in its order.

    Args:
        config: The model.
        vocabulary: Pieces of the tokenizer (V); the text tensors have one row more.
    """
    shapes: dict[str, Shape] = {}
    shapes.update(_encoders(config))
    shapes.update(_after_encoders(config, vocabulary))
    return shapes


def untrained_shapes(config: GptConfig) -> dict[str, Shape]:
    """Return name -> shape of the untrained tensors, in the order of the file."""
    shapes = gpt_file_shapes(config, vocabulary=1)
    return {name: shape for name, shape in shapes.items() if not is_trained(name)}


def trained_shapes(config: GptConfig, vocabulary: int) -> dict[str, Shape]:
    """Return name -> shape of the trained tensors, in the order of the file."""
    shapes = gpt_file_shapes(config, vocabulary)
    return {name: shape for name, shape in shapes.items() if is_trained(name)}


def _encoders(config: GptConfig) -> Iterator[tuple[str, Shape]]:
    speaker, emotion = config.condition_module, config.emo_condition_module
    width = config.model_dim
    if config.takes_speaker_vectors:
        yield from _pair("spk_emb_proj", width, SPEAKER_WIDTH, bias=width)
    else:
        yield from _conformer("conditioning_encoder", speaker)
        yield from _perceiver(
            "perceiver_encoder", speaker, width=width, latents=config.condition_num_latent
        )
    yield from _conformer("emo_conditioning_encoder", emotion)
    yield from _perceiver("emo_perceiver_encoder", emotion, width=EMOTION_WIDTH, latents=1)


def _pair(name: str, *shape: int, bias: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", (bias,)


def _conformer(prefix: str, module: ConditionModule) -> Iterator[tuple[str, Shape]]:
    c = module.output_size
    yield from _pair(f"{prefix}.embed.conv.0", c, 1, 3, 3, bias=c)
    yield from _pair(f"{prefix}.embed.out.0", c, SUBSAMPLED_BINS * c, bias=c)
    yield f"{prefix}.embed.pos_enc.pe", (1, POSITIONAL_ROWS, c)
    yield from _pair(f"{prefix}.after_norm", c, bias=c)
    for block in range(module.num_blocks):
        yield from _conformer_block(f"{prefix}.encoders.{block}", module)


def _conformer_block(prefix: str, module: ConditionModule) -> Iterator[tuple[str, Shape]]:
    c, u, a = module.output_size, module.linear_units, module.attention_heads
    yield f"{prefix}.self_attn.pos_bias_u", (a, c // a)
    yield f"{prefix}.self_attn.pos_bias_v", (a, c // a)
    for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
        yield from _pair(f"{prefix}.self_attn.{name}", c, c, bias=c)
    yield f"{prefix}.self_attn.linear_pos.weight", (c, c)
    yield from _pair(f"{prefix}.feed_forward.w_1", u, c, bias=u)
    yield from _pair(f"{prefix}.feed_forward.w_2", c, u, bias=c)
    yield from _pair(f"{prefix}.conv_module.pointwise_conv1", 2 * c, c, 1, bias=2 * c)
    yield from _pair(f"{prefix}.conv_module.depthwise_conv", c, 1, 15, bias=c)
    yield from _pair(f"{prefix}.conv_module.norm", c, bias=c)
    yield from _pair(f"{prefix}.conv_module.pointwise_conv2", c, c, 1, bias=c)
    for name in ("norm_ff", "norm_mha", "norm_conv", "norm_final"):
        yield from _pair(f"{prefix}.{name}", c, bias=c)


def _perceiver(
    prefix: str, module: ConditionModule, *, width: int, latents: int
) -> Iterator[tuple[str, Shape]]:
    c, inner = module.output_size, 64 * module.attention_heads
    feed_forward = math.floor(width * module.perceiver_mult * 2 / 3)
    yield f"{prefix}.latents", (latents, width)
    if c != width:
        yield from _pair(f"{prefix}.proj_context", width, c, bias=width)
    for layer in range(2):
        at = f"{prefix}.layers.{layer}"
        yield f"{at}.0.to_q.weight", (inner, width)
        yield f"{at}.0.to_kv.weight", (2 * inner, width)
        yield f"{at}.0.to_out.weight", (width, inner)
        yield from _pair(f"{at}.1.0", 2 * feed_forward, width, bias=2 * feed_forward)
        yield from _pair(f"{at}.1.2", width, feed_forward, bias=width)
    yield f"{prefix}.norm.gamma", (width,)


def _after_encoders(config: GptConfig, vocabulary: int) -> Iterator[tuple[str, Shape]]:
    d, k, rows = config.model_dim, config.number_mel_codes, vocabulary + 1
    yield "text_embedding.weight", (rows, d)
    if config.language_rows:
        yield LANGUAGE_TENSOR, (config.language_rows, d)
    yield from _pair("emo_layer", d, d, bias=d)
    yield from _pair("emovec_layer", d, EMOTION_WIDTH, bias=d)
    yield "mel_embedding.weight", (k, d)
    for layer in range(config.layers):
        yield from _gpt_block(f"gpt.h.{layer}", d)
    yield from _pair("gpt.ln_f", d, bias=d)
    yield "mel_pos_embedding.emb.weight", (config.max_mel_tokens + 3, d)
    yield "text_pos_embedding.emb.weight", (config.max_text_tokens + 2, d)
    yield from _pair("final_norm", d, bias=d)
    yield from _pair("text_head", rows, d, bias=rows)
    yield from _pair("mel_head", k, d, bias=k)
    if config.speed_rows and not config.takes_speaker_vectors:
        yield "speed_emb.weight", (2, d)


def _gpt_block(prefix: str, d: int) -> Iterator[tuple[str, Shape]]:
    yield from _pair(f"{prefix}.ln_1", d, bias=d)
    yield from _pair(f"{prefix}.attn.c_attn", d, 3 * d, bias=3 * d)
    yield from _pair(f"{prefix}.attn.c_proj", d, d, bias=d)
    yield from _pair(f"{prefix}.ln_2", d, bias=d)
    yield from _pair(f"{prefix}.mlp.c_fc", d, 4 * d, bias=4 * d)
    yield from _pair(f"{prefix}.mlp.c_proj", 4 * d, d, bias=d)
