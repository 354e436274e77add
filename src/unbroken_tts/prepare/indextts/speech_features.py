"""Computes the speech features of IndexTTS2: layer 17 of w2v-bert-2.0, standardised.

Codes and conditioning are both made from them, 50 rows a second. Recordings are computed one at a
time, so that the features of a recording don't depend on others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import xxhash

from unbroken import DataInvalid
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.conditioning_encoders import LEAST_FRAMES
from unbroken_tts.model.gpt_file import SPEECH_WIDTH
from unbroken_tts.prepare.audio import Wave, resampled
from unbroken_tts.prepare.indextts.precision import full_float32

LAYER: Final = 17
"""The layer whose output IndexTTS2 uses, as MaskGCT does (arXiv 2409.00750)."""
SAMPLE_RATE: Final = 16_000
"""Samples per second that w2v-bert-2.0 takes."""
ROWS_PER_SECOND: Final = 50.0
"""Filter banks come every 10 ms; each row has two of them."""

# 25 ms for the first filter bank and 10 ms for each further one.
_LEAST_SAMPLES = 400 + (2 * LEAST_FRAMES - 1) * 160


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRows:
    """The speech features of one recording."""

    rows: torch.Tensor
    """(T, 1024) float32, standardised, on the device."""
    whole: int
    """T, or T - 1 if the last row has a filter bank of the recording and one of padding."""


class SpeechFeatures:
    """The first 17 layers of w2v-bert-2.0, with the statistics of IndexTTS2.

    Args:
        directory: The model as published: config.json, preprocessor_config.json, model.safetensors.
        statistics: `wav2vec2bert_stats.pt`.
        device: Where to compute.
        layer: Whose output to use.

    Raises:
        DataInvalid: A file is missing, damaged or foreign.
    """

    def __init__(
        self, directory: Path, statistics: Path, device: torch.device, *, layer: int = LAYER
    ) -> None:
        self._device = device
        self._extractor, self._model = _loaded(directory, layer)
        mean, deviation = _standardisation(statistics)
        self.fingerprint: str = _fingerprint(self._model, mean, deviation, layer)
        """Hexadecimal digest of everything that determines the features."""
        self._model.to(device)
        self._mean, self._deviation = mean.to(device), deviation.to(device)
        self._last: tuple[Wave, int, SpeechRows] | None = None

    def __call__(self, wave: Wave, rate: int) -> SpeechRows:
        """Return the features of a recording; those of the last recording are kept.

        Args:
            wave: (S,) float32 mono.
            rate: Samples per second of `wave`.

        Raises:
            DataInvalid: It is shorter than 75 ms.
        """
        if self._last is None or self._last[0] is not wave or self._last[1] != rate:
            self._last = (wave, rate, self._computed(resampled(wave, rate, SAMPLE_RATE)))
        return self._last[2]

    @torch.inference_mode()
    def _computed(self, wave: Wave) -> SpeechRows:
        if len(wave) < _LEAST_SAMPLES:
            raise DataInvalid(
                f"The recording lasts {1000 * len(wave) / SAMPLE_RATE:.0f} ms, less than "
                f"{1000 * _LEAST_SAMPLES / SAMPLE_RATE:.0f} ms.",
                "The encoders need three rows of speech features.",
                "Omit it with --on-bad drop.",
            )
        banks = self._extractor(
            np.ascontiguousarray(wave), sampling_rate=SAMPLE_RATE, return_tensors="pt"
        ).to(self._device)
        with full_float32(self._device):
            rows = self._model(**banks).last_hidden_state[0]
        return SpeechRows(
            rows=(rows - self._mean) / self._deviation, whole=int(banks["attention_mask"].sum())
        )


def _loaded(directory: Path, layer: int) -> tuple[Any, torch.nn.Module]:
    """Return the feature extractor and the first layers of the model."""
    # Importing transformers takes seconds, and few commands need it.
    from transformers import (  # noqa: PLC0415
        SeamlessM4TFeatureExtractor,
        Wav2Vec2BertConfig,
        Wav2Vec2BertModel,
    )
    from transformers.utils import logging  # noqa: PLC0415 -- likewise

    logging.disable_progress_bar()  # it would be drawn into ours
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it lists the layers left out as unexpected
    try:
        extractor = SeamlessM4TFeatureExtractor.from_pretrained(directory, local_files_only=True)
        config = Wav2Vec2BertConfig.from_pretrained(directory, local_files_only=True)
        found, width = config.num_hidden_layers, config.hidden_size
        if found < layer or width != SPEECH_WIDTH:
            raise _unusable(directory, f"has {found} layers of width {width}")  # noqa: TRY301
        # Later layers would be computed in vain, and what follows the layers changes their output.
        config.num_hidden_layers = layer
        config.add_adapter = config.use_intermediate_ffn_before_adapter = False
        model, loading = Wav2Vec2BertModel.from_pretrained(
            directory,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except DataInvalid:
        raise
    except Exception as error:
        # A foreign file makes the library raise errors of many kinds.
        raise _unusable(
            directory, f"can't be loaded ({' '.join(str(error).split())[:300]})"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    missing = sorted(set(loading["missing_keys"]) - {"masked_spec_embed"})
    if missing:
        raise _unusable(directory, f"lacks {len(missing)} tensors, among them {missing[0]}")
    return extractor, model.eval().requires_grad_(requires_grad=False)


def _standardisation(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of the features, (1024,) float32 each."""
    content = read_archive(path)
    values = [content.get(name) for name in ("mean", "var")]
    if not all(
        isinstance(value, torch.Tensor)
        and value.shape == (SPEECH_WIDTH,)
        and bool(torch.isfinite(value).all())
        for value in values
    ) or not bool((content["var"] > 0).all()):
        raise DataInvalid(
            f"{path} has no usable `mean` and `var` of {SPEECH_WIDTH} values each.",
            "Speech features are standardised with them; other values make other codes.",
            "Copy wav2vec2bert_stats.pt of IndexTTS2 again.",
        )
    return content["mean"].float(), content["var"].float().sqrt()


def _fingerprint(
    model: torch.nn.Module, mean: torch.Tensor, deviation: torch.Tensor, layer: int
) -> str:
    whole = xxhash.xxh3_128(f"unbroken speech features 1 layer {layer}\n".encode())
    values = {**model.state_dict(), "mean": mean, "deviation": deviation}
    for name in sorted(values.keys() - {"masked_spec_embed"}):
        whole.update(f"{name} {list(values[name].shape)}\n".encode())
        whole.update(values[name].contiguous().numpy().tobytes())
    return whole.hexdigest()


def _unusable(directory: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The speech model in {directory} {what}.",
        f"Codes are made from layer {LAYER} of w2v-bert-2.0, which is {SPEECH_WIDTH} wide.",
        "Copy the model facebook/w2v-bert-2.0 there: config.json, preprocessor_config.json and "
        "model.safetensors; or name its directory with --w2v-bert.",
    )
