"""The encoders of IndexTTS-2.5 in the sizes that its config.yaml gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from support.published_config import published_config
from unbroken import DataInvalid
from unbroken_tts.model.conditioning_encoders import EmotionEncoder
from unbroken_tts.model.gpt_file import untrained_shapes
from unbroken_tts.model.semantic_quantiser import SemanticQuantiser
from unbroken_tts.prepare.indextts.codec_sizes import require_declared_sizes

CODEC = {
    "codebook_size": 8192,
    "hidden_size": 1024,
    "codebook_dim": 8,
    "vocos_dim": 384,
    "vocos_intermediate_dim": 2048,
    "vocos_num_layers": 12,
    "num_quantizers": 1,
    "downsample_scale": 2,
}


def nothing(*shape: int) -> torch.Tensor:
    """Zeros that need no memory."""
    return torch.zeros(()).expand(shape)


def affine(name: str, *shape: int) -> Iterator[tuple[str, torch.Tensor]]:
    """A weight and a bias."""
    yield f"{name}.weight", nothing(*shape)
    yield f"{name}.bias", nothing(shape[0])


def codec_tensors() -> dict[str, torch.Tensor]:
    """The tensors of `codec.pth` that make codes, and some that don't."""
    found = dict(affine("down", 1024, 1024, 3)) | dict(affine("up", 1024, 1024, 3))
    for name, shape in (
        ("embed", (384, 1024, 7)),
        ("norm", (384,)),
        ("final_layer_norm", (384,)),
    ):
        found |= affine(f"encoder.0.{name}", *shape)
    for block in range(12):
        at = f"encoder.0.convnext.{block}"
        found |= affine(f"{at}.dwconv", 384, 1, 7)
        found |= affine(f"{at}.norm", 384)
        found |= affine(f"{at}.pwconv1", 2048, 384)
        found |= affine(f"{at}.pwconv2", 384, 2048)
        found[f"{at}.gamma"] = nothing(384)
    found |= affine("encoder.1", 1024, 384)
    book = "quantizer.quantizers.0"
    for name, rows, columns in (("in_project", 8, 1024), ("out_project", 1024, 8)):
        found[f"{book}.{name}.weight_g"] = nothing(rows, 1, 1)
        found[f"{book}.{name}.weight_v"] = nothing(rows, columns, 1)
        found[f"{book}.{name}.bias"] = nothing(rows)
    return found | {f"{book}.codebook.weight": nothing(8192, 8)} | dict(affine("decoder.1", 9, 9))


def test_the_codec_makes_a_code_of_two_rows_in_the_published_sizes() -> None:
    """Odd and even numbers of rows, 8,192 codes, and no tensor of the decoder."""
    quantiser = SemanticQuantiser(codec_tensors(), halves=True)
    assert 8192 == quantiser.size
    assert not [name for name in quantiser.state_dict() if name.startswith(("up.", "decoder."))]
    with torch.inference_mode():
        assert [3, 3, 4] == [len(quantiser(torch.zeros(rows, 1024))) for rows in (5, 6, 7)]


def test_a_codec_that_lost_a_block_is_not_a_smaller_codec(tmp_path: Path) -> None:
    """The file is compared with what config.yaml says of it."""
    config, tensors = tmp_path / "config.yaml", codec_tensors()
    config.write_text(yaml.safe_dump({"semantic_codec": CODEC}), "utf-8")
    require_declared_sizes(tmp_path / "codec.pth", tensors, config)
    cut = {name: each for name, each in tensors.items() if ".convnext.11." not in name}
    with pytest.raises(DataInvalid, match="has vocos_num_layers 11, not 12 as"):
        require_declared_sizes(tmp_path / "codec.pth", cut, config)


def test_the_emotion_encoder_has_the_tensors_of_the_published_file() -> None:
    """Four conformer blocks of 512, a perceiver of 1,024, and two projections to 1,280."""
    config = published_config(spk_cond_mode="campplus", language_rows=107)
    tensors = {name: nothing(*shape) for name, shape in untrained_shapes(config).items()}
    encoder = EmotionEncoder(config, tensors)
    assert tensors.keys() == encoder.state_dict().keys()
    assert (1280,) == encoder.emotion(torch.zeros(9, 1024), 9).shape
