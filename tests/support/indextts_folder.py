"""A miniature folder of IndexTTS2: the real layout and names, small tensors with seeded values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from support.tiny_model import tiny_config
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.gpt_file import untrained_shapes

LAYERS = 2
"""Layers of the miniature speech model; the real one has 24, of which 17 are used."""
CODES = 32
"""Codes of the miniature code book; the real one has 8,192."""


def write_indextts_folder(
    root: Path, tokenizer: bytes, *, vocabulary: int, layers: int = LAYERS, seed: int = 5
) -> GptConfig:
    """Write the folder and return the configuration of its model.

    Args:
        root: The new folder.
        tokenizer: Content of `bpe.model`.
        vocabulary: Its pieces.
        layers: Layers of the speech model.
        seed: Seed of all weights.
    """
    config = tiny_config(max_text_tokens=120, max_mel_tokens=400, number_text_tokens=vocabulary)
    write_description(root, config, tokenizer, {"codebook_size": CODES})
    draw = torch.Generator().manual_seed(seed)
    model = VoiceGpt(config, vocabulary)
    model.initialise(seed)
    write_gpt_pth(root / "gpt.pth", merge(model, conditioning_tensors(config, draw)))
    write_statistics(root, draw)
    write_speech_model(root / "w2v-bert-2.0", layers, seed)
    (root / "semantic_codec").mkdir()
    save_file(codec_tensors(draw), root / "semantic_codec" / "model.safetensors")
    return config


def write_description(
    root: Path, config: GptConfig, tokenizer: bytes, codec: dict[str, Any]
) -> None:
    """Make the folder with a `config.yaml`, which tells no version of the model, and `bpe.model`.

    Args:
        root: The new folder.
        config: The model.
        tokenizer: Content of `bpe.model`.
        codec: The section `semantic_codec`.
    """
    root.mkdir(parents=True)
    document = {
        "dataset": {"bpe_model": "bpe.model"},
        "gpt": config.model_dump(
            exclude={"dropout", "speed_rows", "spk_cond_mode", "language_rows"}
        ),
        "semantic_codec": codec,
        "gpt_checkpoint": "gpt.pth",
        "w2v_stat": "wav2vec2bert_stats.pt",
        "version": 2.0,
    }
    (root / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (root / "bpe.model").write_bytes(tokenizer)


def write_statistics(root: Path, draw: torch.Generator) -> None:
    """Write mean and variance of the 1,024 speech features."""
    statistics = {
        "mean": 0.1 * torch.randn(1024, generator=draw),
        "var": torch.rand(1024, generator=draw) + 0.5,
    }
    torch.save(statistics, root / "wav2vec2bert_stats.pt")


def conditioning_tensors(config: GptConfig, draw: torch.Generator) -> dict[str, torch.Tensor]:
    """Return random encoders whose every tensor matters: no bias is zero, no norm is one."""
    return {
        name: torch.randn(shape, generator=draw) * (0.5 if len(shape) < 2 else shape[-1] ** -0.5)
        + (1.0 if name.endswith(("norm.weight", "gamma")) else 0.0)
        for name, shape in untrained_shapes(config).items()
    }


def codec_tensors(
    draw: torch.Generator, *, width: int = 12, inner: int = 20, blocks: int = 2
) -> dict[str, torch.Tensor]:
    """Return a random semantic codec with the names of the published file."""
    shapes: dict[str, tuple[int, ...]] = {}
    for side in ("encoder", "decoder"):
        shapes |= {
            f"{side}.0.embed.weight": (width, 1024, 7),
            f"{side}.0.embed.bias": (width,),
            f"{side}.0.norm.weight": (width,),
            f"{side}.0.norm.bias": (width,),
            f"{side}.0.final_layer_norm.weight": (width,),
            f"{side}.0.final_layer_norm.bias": (width,),
            f"{side}.1.weight": (1024, width),
            f"{side}.1.bias": (1024,),
        }
        for block in range(blocks):
            at = f"{side}.0.convnext.{block}"
            shapes |= {
                f"{at}.gamma": (width,),
                f"{at}.dwconv.weight": (width, 1, 7),
                f"{at}.dwconv.bias": (width,),
                f"{at}.norm.weight": (width,),
                f"{at}.norm.bias": (width,),
                f"{at}.pwconv1.weight": (inner, width),
                f"{at}.pwconv1.bias": (inner,),
                f"{at}.pwconv2.weight": (width, inner),
                f"{at}.pwconv2.bias": (width,),
            }
    book = "quantizer.quantizers.0"
    for name, rows, columns in (("in_project", 8, 1024), ("out_project", 1024, 8)):
        shapes |= {
            f"{book}.{name}.weight_g": (rows, 1, 1),
            f"{book}.{name}.weight_v": (rows, columns, 1),
            f"{book}.{name}.bias": (rows,),
        }
    shapes[f"{book}.codebook.weight"] = (CODES, 8)
    # Little that is the same for every row, so that recordings have many different codes.
    return {
        name: torch.randn(shape, generator=draw)
        * (0.05 if len(shape) < 2 else max(shape[1:]) ** -0.5)
        + (1.0 if name.endswith("norm.weight") else 0.0)
        for name, shape in shapes.items()
    }


def write_speech_model(directory: Path, layers: int, seed: int) -> None:
    """Write a random speech model as published: half precision, with its feature extractor."""
    config = Wav2Vec2BertConfig(
        hidden_size=1024,
        num_hidden_layers=layers,
        num_attention_heads=16,
        intermediate_size=32,
        conv_depthwise_kernel_size=31,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        Wav2Vec2BertModel(config).to(torch.float16).save_pretrained(directory)
    SeamlessM4TFeatureExtractor().save_pretrained(directory)
