"""The filter banks that speaker models take: those of Kaldi with its defaults, without dither.

The steps of `compute-fbank-feats` (Povey et al. 2011, "The Kaldi Speech Recognition Toolkit"): frames
of 25 ms every 10 ms, of which only whole ones count; each less its mean; pre-emphasis by 0.97; Povey's
window; the power of 512 frequencies; triangles between 20 Hz and 8 kHz that are equally wide in mel;
the logarithm. Values of a wave within [-1, 1] are not scaled to 16 bits.

Shape letters: S samples, T frames, N samples of a frame, F frequencies, B banks.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import torch
from torch.nn import functional

RATE: Final = 16_000
"""Samples per second of the waves."""
BANKS: Final = 80
"""Filter banks of a frame."""

_FRAME, _HOP, _PADDED = 400, 160, 512
_PREEMPHASIS = 0.97
_LOWEST_HERTZ = 20.0
_WINDOW_POWER = 0.85
_FLOOR = torch.finfo(torch.float32).eps


def filter_banks(wave_S: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the filter banks of a wave, (T, 80) float32 with T = (S - 240) // 160.

    They are computed in float64 on the CPU, so they don't depend on the device.

    Args:
        wave_S: (S,) float32 at 16 kHz, S >= 400.
    """
    frames_TN = wave_S.cpu().double().unfold(0, _FRAME, _HOP)
    frames_TN = frames_TN - frames_TN.mean(dim=1, keepdim=True)
    before_TN = torch.cat([frames_TN[:, :1], frames_TN[:, :-1]], dim=1)
    windowed_TN = (frames_TN - _PREEMPHASIS * before_TN) * _window()
    power_TF = torch.fft.rfft(windowed_TN, n=_PADDED).abs().square()
    banks_TB: torch.Tensor = (power_TF @ _triangles()).clamp(min=_FLOOR).log().float()
    return banks_TB


def centred(banks_TB: torch.Tensor) -> torch.Tensor:
    """Return filter banks less their means over time, (T, B): a recording's channel is in them."""
    return banks_TB - banks_TB.mean(dim=0, keepdim=True)


@cache
def _window() -> torch.Tensor:
    """Return Povey's window, (N,): Hann's, 0 at both ends, to the power of 0.85."""
    hann = torch.hann_window(_FRAME, periodic=False, dtype=torch.float64)
    return functional.relu(hann).pow(_WINDOW_POWER)


@cache
def _triangles() -> torch.Tensor:
    """Return the weights of the frequencies in each bank, (F, B); mel = 1127 ln(1 + f / 700 Hz)."""

    def mel(hertz: torch.Tensor) -> torch.Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    ends = mel(torch.tensor([_LOWEST_HERTZ, RATE / 2], dtype=torch.float64))
    corners = ends[0] + (ends[1] - ends[0]) * torch.arange(BANKS + 2).double() / (BANKS + 1)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    places_F1 = mel(torch.arange(_PADDED // 2 + 1).double() * RATE / _PADDED)[:, None]
    rising, falling = (places_F1 - left) / (centre - left), (right - places_F1) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0)
