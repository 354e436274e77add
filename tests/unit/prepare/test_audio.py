from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from unbroken.errors import DataInvalid
from unbroken_tts.prepare.audio import read_audio, read_header, write_audio


def tone(rate: int, seconds: float = 0.5) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A tone of 440 Hz."""
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_any_rate_becomes_the_wanted_one(tmp_path: Path, rate: int, suffix: str) -> None:
    """A tone keeps its pitch and its length whatever the rate and the format."""
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, tone(rate), rate)
    wave = read_audio(path, 22_050)
    assert wave.dtype == np.float32
    assert abs(len(wave) - 11_025) <= 1
    spectrum = np.abs(np.fft.rfft(wave))
    assert spectrum.argmax() / 0.5 == pytest.approx(440, abs=3)
    assert read_header(path).seconds == pytest.approx(0.5)


def test_channels_are_averaged(tmp_path: Path) -> None:
    """Stereo becomes the mean of both sides."""
    path = tmp_path / "stereo.wav"
    left, right = tone(22_050), np.zeros(11_025)
    soundfile.write(path, np.stack([left, right], axis=1), 22_050, subtype="FLOAT")
    assert np.allclose(left / 2, read_audio(path, 22_050), atol=1e-6)


def test_written_audio_is_read_back(tmp_path: Path) -> None:
    """What is written is 16-bit mono at the given rate, clipped."""
    path = tmp_path / "out.wav"
    write_audio(path, np.array([0, 0.5, 2, -2], dtype=np.float32), 22_050)
    assert np.allclose([0, 0.5, 1, -1], read_audio(path, 22_050), atol=1e-4)


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("does not exist", None),
        ("is unreadable", b"this is no audio"),
        ("is unreadable", b""),
    ],
)
def test_unreadable_files_are_told(tmp_path: Path, what: str, content: bytes | None) -> None:
    """A missing or foreign file is named with the reason."""
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataInvalid, match=f"bad.wav {what}"):
        read_audio(path, 22_050)


@pytest.mark.parametrize(
    ("what", "samples"),
    [
        ("holds no samples", np.zeros(0)),
        ("is silent from beginning to end", np.zeros(100)),
        ("not finite", np.array([0.1, np.nan, 0.2])),
    ],
)
def test_useless_sound_is_told(
    tmp_path: Path, what: str, samples: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    """Empty, silent and non-finite recordings are refused."""
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, 22_050, subtype="FLOAT")
    with pytest.raises(DataInvalid, match=what):
        read_audio(path, 22_050)
