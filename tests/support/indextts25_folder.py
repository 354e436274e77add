"""A miniature folder of IndexTTS-2.5: the real layout and names, seeded values.

Everything is small but the speaker model, which has the published sizes.
"""

from __future__ import annotations

from pathlib import Path

import torch

from support.indextts_folder import (
    CODES,
    LAYERS,
    codec_tensors,
    write_description,
    write_speech_model,
    write_statistics,
)
from support.tiny_model import tiny_config
from unbroken_tts.model.campplus import CamPlusPlus
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt_file import gpt_file_shapes
from unbroken_tts.prepare.indextts import Encoders, IndexTtsFiles, open_encoders

LANGUAGE_ROWS = 107
"""Rows of the language table, as published."""

_CODEC = {
    "codebook_size": CODES,
    "hidden_size": 1024,
    "codebook_dim": 8,
    "vocos_dim": 12,
    "vocos_intermediate_dim": 20,
    "vocos_num_layers": 2,
    "num_quantizers": 1,
    "downsample_scale": 2,
}


def write_indextts25_folder(
    root: Path, tokenizer: bytes, *, vocabulary: int, layers: int = LAYERS, seed: int = 6
) -> GptConfig:
    """Write the folder; return the configuration as its `config.yaml` has it, which tells no version.

    Args:
        root: The new folder.
        tokenizer: Content of `bpe.model`.
        vocabulary: Its pieces.
        layers: Layers of the speech model.
        seed: Seed of all weights.
    """
    config = tiny_config(
        max_text_tokens=120, max_mel_tokens=400, number_text_tokens=vocabulary, speed_rows=False
    )
    write_description(root, config, tokenizer, _CODEC)
    draw = torch.Generator().manual_seed(seed)
    torch.save(gpt_tensors(config, vocabulary, draw), root / "gpt.pth")
    write_statistics(root, draw)
    write_speech_model(root / "hf_cache" / "w2v-bert-2.0", layers, seed)
    torch.save({"model": halving_codec_tensors(draw)}, root / "codec.pth")
    torch.save(speaker_model_tensors(draw), root / "hf_cache" / "campplus_cn_common.bin")
    return config


def opened(files: IndexTtsFiles, config: GptConfig | None = None) -> Encoders:
    """Return the encoders of a folder, with the few layers of a miniature.

    Args:
        files: Those of a miniature folder, of 2.5 or of 2.0.
        config: The model, if not that of the folder's `config.yaml`.
    """
    config = config or GptConfig.from_yaml(files.config)
    return open_encoders(files, config, device="cpu", layer=LAYERS)


def gpt_tensors(
    config: GptConfig, vocabulary: int, draw: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return a random `gpt.pth` of 2.5; every tensor of the emotion matters."""
    of_2_5 = config.model_copy(
        update={"spk_cond_mode": "campplus", "language_rows": LANGUAGE_ROWS, "speed_rows": False}
    )
    shapes = gpt_file_shapes(of_2_5, vocabulary)
    return {
        name: torch.randn(shape, generator=draw) * (0.5 if len(shape) < 2 else shape[-1] ** -0.5)
        + (1.0 if name.endswith(("norm.weight", "gamma")) else 0.0)
        for name, shape in shapes.items()
    }


def halving_codec_tensors(draw: torch.Generator) -> dict[str, torch.Tensor]:
    """Return a random codec with the names of the published `codec.pth`."""
    nothing = torch.zeros(())
    return codec_tensors(draw) | {
        "down.weight": torch.randn((1024, 1024, 3), generator=draw) / 3072**0.5,
        "down.bias": 0.05 * torch.randn(1024, generator=draw),
        "up.weight": nothing.expand(1024, 1024, 3),
        "up.bias": nothing.expand(1024),
    }


def speaker_model_tensors(draw: torch.Generator) -> dict[str, torch.Tensor]:
    """Return a random speaker model with the names and shapes of the published file."""
    found: dict[str, torch.Tensor] = {}
    for name, each in CamPlusPlus().state_dict().items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(1)
        elif each.dim() > 1:
            size = each[0].numel()
            found[name] = torch.randn(each.shape, generator=draw) * size**-0.5
        elif name.endswith(("running_var", ".weight")):
            found[name] = torch.rand(each.shape, generator=draw) + 0.5
        else:
            found[name] = 0.1 * torch.randn(each.shape, generator=draw)
    return found
