from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from support.indextts_folder import conditioning_tensors
from support.tiny_model import tiny_config
from unbroken_tts.model.conditioning_encoders import (
    ConditioningEncoders,
    conditioning_fingerprint,
)
from unbroken_tts.model.config import ConditionModule, GptConfig

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def config() -> GptConfig:
    """Two conformer blocks of two heads for the speaker, one of one head for the emotion."""
    speaker = ConditionModule(
        output_size=8, linear_units=12, attention_heads=2, num_blocks=2, perceiver_mult=1.3
    )
    emotion = ConditionModule(
        output_size=4, linear_units=6, attention_heads=1, num_blocks=1, perceiver_mult=0.02
    )
    return tiny_config(condition_module=speaker, emo_condition_module=emotion)


@pytest.fixture(scope="module")
def tensors(config: GptConfig) -> Tensors:
    """Random encoders."""
    return conditioning_tensors(config, torch.Generator().manual_seed(3))


def _linear(tensors: Tensors, name: str, rows: torch.Tensor) -> torch.Tensor:
    return functional.linear(rows, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))


def _norm(tensors: Tensors, name: str, rows: torch.Tensor) -> torch.Tensor:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return functional.layer_norm(rows, weight.shape, weight, bias, 1e-5)


def _conv1d(tensors: Tensors, name: str, rows: torch.Tensor, **options: int) -> torch.Tensor:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return functional.conv1d(rows, weight, bias, **options)


def _conformer(
    tensors: Tensors, at: str, module: ConditionModule, features: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The encoder by its formulas, for a padded batch: (B, T, 1024), (B, T) -> (B, S, C), (B, S)."""
    weight, bias = tensors[f"{at}.embed.conv.0.weight"], tensors[f"{at}.embed.conv.0.bias"]
    image = functional.conv2d(features.unsqueeze(1), weight, bias, stride=2).relu()
    batch, width, rows, bins = image.shape
    flat = image.transpose(1, 2).reshape(batch, rows, width * bins)
    hidden = _linear(tensors, f"{at}.embed.out.0", flat) * width**0.5
    places = tensors[f"{at}.embed.pos_enc.pe"][:, :rows]
    mask = mask[:, 2::2]
    heads, channels = module.attention_heads, width // module.attention_heads
    for number in range(module.num_blocks):
        own = f"{at}.encoders.{number}"
        normal = _norm(tensors, f"{own}.norm_mha", hidden)

        def split(name: str, rows: torch.Tensor, own: str = own) -> torch.Tensor:
            return _linear(tensors, f"{own}.self_attn.{name}", rows).view(
                len(rows), -1, heads, channels
            )

        query, key, value = (split(f"linear_{one}", normal) for one in "qkv")
        place = split("linear_pos", places).expand_as(key)
        biases = [tensors[f"{own}.self_attn.pos_bias_{one}"] for one in "uv"]
        scores = torch.einsum("bihc,bjhc->bhij", query + biases[0], key)
        scores = scores + torch.einsum("bihc,bjhc->bhij", query + biases[1], place)
        scores = (scores / channels**0.5).masked_fill(~mask[:, None, None], float("-inf"))
        mixed = torch.einsum("bhij,bjhc->bihc", scores.softmax(-1), value).flatten(2)
        hidden = hidden + _linear(tensors, f"{own}.self_attn.linear_out", mixed)
        normal = _norm(tensors, f"{own}.norm_conv", hidden).transpose(1, 2) * mask[:, None]
        gated = functional.glu(_conv1d(tensors, f"{own}.conv_module.pointwise_conv1", normal), 1)
        deep = _conv1d(tensors, f"{own}.conv_module.depthwise_conv", gated, padding=7, groups=width)
        active = functional.silu(_norm(tensors, f"{own}.conv_module.norm", deep.transpose(1, 2)))
        last = _conv1d(tensors, f"{own}.conv_module.pointwise_conv2", active.transpose(1, 2))
        hidden = hidden + (last * mask[:, None]).transpose(1, 2)
        inner = functional.silu(
            _linear(tensors, f"{own}.feed_forward.w_1", _norm(tensors, f"{own}.norm_ff", hidden))
        )
        hidden = hidden + _linear(tensors, f"{own}.feed_forward.w_2", inner)
        hidden = _norm(tensors, f"{own}.norm_final", hidden)
    return _norm(tensors, f"{at}.after_norm", hidden), mask


def _perceiver(
    tensors: Tensors, at: str, context: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The resampler by its formulas, for a padded batch: (B, S, C), (B, S) -> (B, L, E)."""
    context = _linear(tensors, f"{at}.proj_context", context)
    latents = tensors[f"{at}.latents"].expand(len(context), -1, -1)
    for number in range(2):
        own = f"{at}.layers.{number}"
        key, value = _linear(tensors, f"{own}.0.to_kv", torch.cat([latents, context], 1)).chunk(
            2, -1
        )
        query, key, value = (
            rows.view(len(rows), rows.shape[1], -1, 64)
            for rows in (_linear(tensors, f"{own}.0.to_q", latents), key, value)
        )
        scores = torch.einsum("bihc,bjhc->bhij", query, key) / 8
        seen = functional.pad(mask, (latents.shape[1], 0), value=True)
        scores = scores.masked_fill(~seen[:, None, None], float("-inf"))
        mixed = torch.einsum("bhij,bjhc->bihc", scores.softmax(-1), value).flatten(2)
        latents = latents + _linear(tensors, f"{own}.0.to_out", mixed)
        content, gate = _linear(tensors, f"{own}.1.0", latents).chunk(2, -1)
        latents = latents + _linear(tensors, f"{own}.1.2", functional.gelu(gate) * content)
    length = latents.square().sum(-1, keepdim=True).sqrt()
    result: torch.Tensor = latents / length * math.sqrt(latents.shape[-1])
    return result * tensors[f"{at}.norm.gamma"]


def test_the_encoders_compute_the_formulas_of_the_checkpoint(
    config: GptConfig, tensors: Tensors
) -> None:
    """One recording alone, or hidden rows at its end: as in a padded batch with masks."""
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(2, 31, 1024, generator=draw)
    lengths = [31, 30]
    mask = torch.arange(31)[None] < torch.tensor(lengths)[:, None]
    hidden, seen = _conformer(
        tensors, "conditioning_encoder", config.condition_module, features, mask
    )
    condition = _perceiver(tensors, "perceiver_encoder", hidden, seen)
    hidden, seen = _conformer(
        tensors, "emo_conditioning_encoder", config.emo_condition_module, features, mask
    )
    emotion = _perceiver(tensors, "emo_perceiver_encoder", hidden, seen)[:, 0]
    emotion = _linear(tensors, "emo_layer", _linear(tensors, "emovec_layer", emotion))
    encoders = ConditioningEncoders(config, tensors)
    for number, frames in enumerate(lengths):
        found = encoders(features[number], frames)
        torch.testing.assert_close(found[0], condition[number], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found[1], emotion[number], rtol=1e-4, atol=1e-4)


def test_a_half_precision_copy_is_the_same_conditioner(tensors: Tensors) -> None:
    """A float16 copy has the fingerprint of its original; other values have another."""
    whole = conditioning_fingerprint(tensors)
    half = {name: value.half() for name, value in reversed(tensors.items())}
    assert whole == conditioning_fingerprint(half)
    trained = {**tensors, "text_head.bias": torch.zeros(3)}
    assert whole == conditioning_fingerprint(trained)
    other = {**tensors, "emo_layer.bias": tensors["emo_layer.bias"] + 0.1}
    assert whole != conditioning_fingerprint(other)
