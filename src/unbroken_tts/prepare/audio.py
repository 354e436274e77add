"""Reads recordings in any format of libsndfile as mono samples of one rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from unbroken import DataInvalid

Wave = npt.NDArray[np.float32]
"""(S,) float32 mono samples, nominally in [-1, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioHeader:
    """The header of an audio file."""

    seconds: float
    """Duration."""
    sample_rate: int
    """Samples per second of each channel."""
    channels: int
    """1 is mono."""


def _refuse(path: Path, what: str) -> NoReturn:
    raise DataInvalid(
        f"The recording {path} {what}.",
        "It can't be trained on.",
        "Replace or repair the file, or omit it with --on-bad drop.",
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def read_header(path: Path) -> AudioHeader:
    """Read the header of an audio file, without decoding it.

    Raises:
        DataInvalid: The file is missing, or not audio that libsndfile reads.
    """
    if not path.is_file():
        _refuse(path, "does not exist")
    try:
        info = soundfile.info(str(path))
    except (OSError, RuntimeError) as error:
        _refuse(path, f"is unreadable ({_reason(error)})")
    if info.frames <= 0:
        _refuse(path, "holds no samples")
    return AudioHeader(
        seconds=info.frames / info.samplerate,
        sample_rate=info.samplerate,
        channels=info.channels,
    )


def resampled(wave: Wave, rate: int, to_rate: int) -> Wave:
    """Return `wave` resampled by soxr in high quality, with one thread and no dither."""
    if rate == to_rate:
        return wave
    result: Wave = soxr.resample(wave, rate, to_rate, quality="HQ").astype(np.float32)
    return result


def read_audio(path: Path, sample_rate: int) -> Wave:
    """Read a recording as mono at `sample_rate`.

    Channels are averaged; the whole file is decoded.

    Args:
        path: Any file that libsndfile reads: WAV, FLAC, OGG, MP3 and more.
        sample_rate: Samples per second of the result.

    Raises:
        DataInvalid: The file is missing, unreadable, empty, silent throughout, or contains
            samples that are not finite.
    """
    read_header(path)
    try:
        channels, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        _refuse(path, f"is unreadable ({_reason(error)})")
    if not channels.size:
        _refuse(path, "holds no samples")
    if not np.isfinite(channels).all():
        _refuse(path, "contains samples that are not finite")
    wave: Wave = channels.mean(axis=1, dtype=np.float32)
    if not wave.any():
        _refuse(path, "is silent from beginning to end")
    return resampled(wave, rate, sample_rate)


def write_audio(path: Path, wave: Wave, sample_rate: int) -> None:
    """Write 16-bit mono WAV; samples beyond [-1, 1] are clipped.

    Args:
        path: The file; an existing one is replaced.
        wave: (S,) float32.
        sample_rate: Samples per second.

    Raises:
        OSError: The file can't be written.
    """
    whole = np.round(np.clip(wave, -1, 1) * 32_767).astype(np.int16)
    with path.open("wb") as file:  # opened here, so that a failure is an OSError
        soundfile.write(file, whole, sample_rate, subtype="PCM_16", format="WAV")
