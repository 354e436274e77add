"""The codec of the real IndexTTS2: speech features, quantised by a semantic codec.

Version 2.0 uses MaskGCT's, a code for each row of features; 2.5 has one of its own, a code for two.
"""

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
from unbroken_tts.prepare.codec.semantic import SEMANTIC, SEMANTIC_2_5
from unbroken_tts.prepare.indextts.codec_sizes import require_declared_sizes
from unbroken_tts.prepare.indextts.precision import full_float32
from unbroken_tts.prepare.indextts.speech_features import (
    ROWS_PER_SECOND,
    SAMPLE_RATE,
    SpeechFeatures,
)

_FORMAT = 1
_FILE = "semantic_codec/model.safetensors of amphion/MaskGCT"


class SemanticCodec(EncodeOnly):
    """Codes of MaskGCT's semantic codec, 50 a second, or of that of 2.5, 25 a second.

    Args:
        path: Its file of tensors.
        features: Computes the speech features.
        device: Where to compute.
        config: The `config.yaml` of 2.5, if it is the codec of 2.5: the sizes must be those it says.

    Raises:
        DataInvalid: The file is missing, damaged or foreign.
    """

    def __init__(
        self,
        path: Path,
        features: SpeechFeatures,
        device: torch.device,
        *,
        config: Path | None = None,
    ) -> None:
        tensors = _tensors(path)
        self._halves = halves = config is not None
        try:
            self._quantiser = SemanticQuantiser(tensors, halves=halves)
        except (KeyError, RuntimeError, ValueError, IndexError) as error:
            why = " ".join(str(error).split())[:300]
            raise _unusable(path, f"isn't such a codec ({why})", halves=halves) from error
        width = tensors["encoder.0.embed.weight"].shape[1]
        if width != SPEECH_WIDTH:
            raise _unusable(path, f"takes features of width {width}", halves=halves)
        if config is not None:
            require_declared_sizes(path, tensors, config)
        self._features = features
        self._fingerprint = _fingerprint(self._quantiser, features.fingerprint)
        self._device = device
        self._quantiser.to(device)

    @property
    def name(self) -> str:
        """`maskgct` or `indextts-2.5`."""
        return SEMANTIC_2_5 if self._halves else SEMANTIC

    @property
    def size(self) -> int:
        """Codes in the book: 8,192 in the real models."""
        return int(self._quantiser.size)

    @property
    def codes_per_second(self) -> float:
        """50, or 25 in 2.5."""
        return ROWS_PER_SECOND / 2 if self._halves else ROWS_PER_SECOND

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
        inner = content.get("model")
        content = inner if isinstance(inner, dict) else content
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


def _unusable(path: Path, what: str, *, halves: bool = False) -> DataInvalid:
    file = "codec.pth of IndexTTS-2.5" if halves else _FILE
    return DataInvalid(
        f"The semantic codec {path} {what}.",
        "Codes of another codec are noise to the model.",
        f"Copy {file} again, or name it with --semantic-codec.",
    )
