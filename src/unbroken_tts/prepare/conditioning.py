"""Computes the conditioning rows, or the speaker vector, and the emotion vector of a prompt.

`Conditioner` is an interface; the encoders of the real IndexTTS2 are in `prepare.indextts`. The
embedded `melstat` needs no other files: it projects statistics of the log-mel spectrogram by a
fixed matrix.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from unbroken import mix64, mix64_each
from unbroken_tts.prepare.audio import Wave, resampled
from unbroken_tts.prepare.mel import BANDS, HOP, SAMPLE_RATE, log_mel
from unbroken_tts.prepare.single_thread import single_thread

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """The conditioning of one recording as a prompt."""

    condition: FloatArray
    """(C, D) float32 conditioning rows, or a (1, 192) float32 speaker vector."""
    emo_vec: FloatArray
    """(D,) float32 emotion vector."""


@runtime_checkable
class Conditioner(Protocol):
    """Converts a prompt to conditioning, deterministically and independently of others."""

    @property
    def name(self) -> str:
        """Name of the kind: `melstat`, or `indextts` or `indextts-2.5` for the real encoders."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of everything that determines its output."""
        ...

    def condition(self, wave: Wave, rate: int) -> Conditioning:
        """Return the conditioning of a recording.

        Args:
            wave: (S,) float32 mono, S > 0.
            rate: Samples per second.
        """
        ...


@cache
def _projection(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Return a fixed matrix of independent uniform values with variance 1 / rows."""
    mixed = mix64_each(mix64(seed), np.arange(rows * columns, dtype=np.uint64))
    unit = (mixed >> np.uint64(11)).astype(np.float64) / (1 << 53)
    values = (2 * unit - 1) * np.sqrt(3.0 / rows)
    return torch.from_numpy(values.reshape(rows, columns))


def _pitch(samples: torch.Tensor) -> torch.Tensor:
    """Return mean and deviation of the pitch, and the share of voiced frames, by autocorrelation.

    Rabiner 1977: the lag of the highest autocorrelation between 70 and 400 Hz; a frame is voiced
    if that is above 0.4 of the energy. The pitch is in octaves relative to 150 Hz.
    """
    size = 2_048
    padded = torch.nn.functional.pad(samples, (0, size))
    frames = padded.unfold(0, size, HOP * 4).double()
    frames = frames - frames.mean(dim=1, keepdim=True)
    spectrum = torch.fft.rfft(frames, n=2 * size)
    correlation = torch.fft.irfft(spectrum.abs().square(), n=2 * size)
    shortest, longest = SAMPLE_RATE // 400, SAMPLE_RATE // 70
    height, lag = correlation[:, shortest:longest].max(dim=1)
    voiced = height > 0.4 * correlation[:, 0].clamp(min=1e-6)
    if not voiced.any():
        return torch.zeros(3, dtype=torch.float64)
    octaves = torch.log2(SAMPLE_RATE / (lag[voiced] + shortest).double() / 150.0)
    return torch.stack([octaves.mean(), octaves.std(correction=0), voiced.double().mean()])


class MelStat:
    """Conditioning from the statistics of a log-mel spectrogram.

    Row c is the mean spectrum of the c-th segment of the recording with mean, deviation and pitch of
    the whole, projected to D. The emotion vector is loudness, brightness and pitch with their
    variation.

    Args:
        rows: Conditioning rows C.
        width: Their width, that of the model.
        emotion_width: Width of the emotion vector, if it is another.
    """

    NAME: ClassVar[str] = "melstat"
    _SCHEME = 1
    _SCALE = 0.2
    # Log-mel values of speech are around -5 with a deviation of about 2.
    _CENTRE, _SPREAD = -5.0, 2.0
    # Weights the three pitch values against 240 others: pitch distinguishes voices best.
    _PITCH_WEIGHT = 8.0

    def __init__(self, rows: int, width: int, *, emotion_width: int | None = None) -> None:
        self._rows = rows
        self._width = width
        self._emotion_width = width if emotion_width is None else emotion_width

    @property
    def name(self) -> str:
        """`melstat`."""
        return self.NAME

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the scheme and the shape."""
        recipe = f"{self.NAME} {self._SCHEME} {self._rows} {self._width}"
        if self._emotion_width != self._width:
            recipe += f" {self._emotion_width}"
        return hashlib.sha256(recipe.encode()).hexdigest()

    def condition(self, wave: Wave, rate: int) -> Conditioning:
        """Return (C, D) and (D,) float32 of moderate size; see `Conditioner.condition`."""
        samples = torch.from_numpy(np.ascontiguousarray(resampled(wave, rate, SAMPLE_RATE)))
        with single_thread():
            frames = (log_mel(samples).double() - self._CENTRE) / self._SPREAD
            pitch = _pitch(samples)
            rows = self._rows_of(frames, pitch) @ _projection(3 * BANDS + 3, self._width, 1)
            mood = self._mood_of(frames, pitch)
            emotion = mood @ _projection(len(mood), self._emotion_width, 2)
        return Conditioning(
            condition=(rows * self._SCALE).float().numpy(),
            emo_vec=(emotion * self._SCALE).float().numpy(),
        )

    def _rows_of(self, frames: torch.Tensor, pitch: torch.Tensor) -> torch.Tensor:
        # (T, BANDS), (3,) -> (C, 3 * BANDS + 3)
        edges = [round(number * len(frames) / self._rows) for number in range(self._rows + 1)]
        stretches = []
        for low, high in itertools.pairwise(edges):
            start = min(
                low, len(frames) - 1
            )  # fewer frames than rows: some segments repeat a frame
            stretches.append(frames[start : max(high, start + 1)].mean(dim=0))
        # Pauses say little about a voice, so its spectrum is that of the louder half.
        loudness = frames.mean(dim=1)
        voice = frames[loudness >= loudness.median()]
        whole = torch.cat(
            [voice.mean(dim=0), frames.std(dim=0, correction=0), pitch * self._PITCH_WEIGHT]
        )
        return torch.cat([torch.stack(stretches), whole.expand(self._rows, -1)], dim=1)

    def _mood_of(self, frames: torch.Tensor, pitch: torch.Tensor) -> torch.Tensor:
        loudness = frames.mean(dim=1)
        band = torch.linspace(-1, 1, BANDS, dtype=torch.float64)
        weights = torch.softmax(frames, dim=1)
        brightness = weights @ band
        movement = (loudness[1:] - loudness[:-1]).abs().mean() if len(loudness) > 1 else 0.0
        tracks = [value for track in (loudness, brightness) for value in self._spread_of(track)]
        moved = torch.as_tensor([float(movement)], dtype=torch.float64)
        return torch.cat([torch.stack(tracks), moved, pitch])

    @staticmethod
    def _spread_of(track: torch.Tensor) -> list[torch.Tensor]:
        return [track.mean(), track.std(correction=0), track.min(), track.max()]
