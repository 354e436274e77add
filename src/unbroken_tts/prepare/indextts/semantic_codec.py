"""The codec of the real IndexTTS2: speech features, quantised by MaskGCT's semantic codec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file

from unbroken import DataInvalid
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.gpt_file import SPEECH_WIDTH
from unbroken_tts.model.semantic_quantiser import SemanticQuantiser
from unbroken_tts.prepare.audio import Wave
from unbroken_tts.prepare.codec.codec import Codes, EncodeOnly, description
from unbroken_tts.prepare.codec.semantic import SEMANTIC
from unbroken_tts.prepare.indextts.precision import full_float32
from unbroken_tts.prepare.indextts.speech_features import (
    ROWS_PER_SECOND,
    SAMPLE_RATE,
    SpeechFeatures,
)

_FORMAT = 1


class SemanticCodec(EncodeOnly):
    """Codes of MaskGCT's semantic codec, 50 a second.

    Args:
        path: Its file of tensors.
        features: Computes the speech features.
        device: Where to compute.

    Raises:
        DataInvalid: The file is missing, damaged or foreign.
    """

    def __init__(self, path: Path, features: SpeechFeatures, device: torch.device) -> None:
        tensors = _tensors(path)
        try:
            self._quantiser = SemanticQuantiser(tensors)
        except (KeyError, RuntimeError, ValueError, IndexError) as error:
            raise _unusable(
                path, f"isn't such a codec ({' '.join(str(error).split())[:300]})"
            ) from error
        width = tensors["encoder.0.embed.weight"].shape[1]
        if width != SPEECH_WIDTH:
            raise _unusable(path, f"takes features of width {width}")
        self._features = features
        self._fingerprint = _fingerprint(self._quantiser, features.fingerprint)
        self._device = device
        self._quantiser.to(device)

    @property
    def name(self) -> str:
        """`maskgct`."""
        return SEMANTIC

    @property
    def size(self) -> int:
        """Codes in the book: 8,192 in the real model."""
        return int(self._quantiser.size)

    @property
    def codes_per_second(self) -> float:
        """50."""
        return ROWS_PER_SECOND

    @property
    def sample_rate(self) -> int:
        """16,000."""
        return SAMPLE_RATE

    @property
    def fingerprint(self) -> str:
        """XXH3-128 over the quantiser's tensors and the fingerprint of the speech features."""
        return self._fingerprint

    @torch.inference_mode()
    def encode(self, wave: Wave, rate: int) -> Codes:
        """Return the codes of a recording, (M,) int32; see `Codec.encode`.

        Raises:
            DataInvalid: The recording is shorter than 75 ms.
        """
        rows = self._features(wave, rate).rows
        with full_float32(self._device):
            codes: Codes = self._quantiser(rows).cpu().numpy().astype(np.int32)
        return codes

    def save(self, directory: Path) -> None:
        """Write `codec.json`; the weights stay in the folder of IndexTTS2."""
        directory.mkdir(parents=True, exist_ok=True)
        content = {**description(self), "format": _FORMAT}
        text = json.dumps(content, indent=2) + "\n"
        (directory / "codec.json").write_text(text, encoding="utf-8", newline="\n")


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix != ".safetensors":
        content = read_archive(path)
        return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise _unusable(path, f"can't be read ({error})") from error


def _fingerprint(quantiser: SemanticQuantiser, features: str) -> str:
    whole = xxhash.xxh3_128(f"unbroken semantic codec 1 {features}\n".encode())
    for name, value in sorted(quantiser.state_dict().items()):
        whole.update(f"{name} {list(value.shape)}\n".encode())
        whole.update(value.contiguous().numpy().tobytes())
    return whole.hexdigest()


def _unusable(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The semantic codec {path} {what}.",
        "Codes of another codec are noise to the model.",
        "Copy semantic_codec/model.safetensors of amphion/MaskGCT again, or name it with "
        "--semantic-codec.",
    )
