"""Converts a log-mel spectrogram to sound by Griffin-Lim."""

from __future__ import annotations

from functools import cache

import torch

from unbroken_tts.prepare.mel import HOP, WINDOW, mel_filters, window

_NON_NEGATIVE_STEPS = 20
_MOMENTUM = 0.99
_PHASE_SEED = 20_261
_SMALLEST = 1e-8


@cache
def _pseudo_inverse() -> torch.Tensor:
    inverse: torch.Tensor = torch.linalg.pinv(mel_filters().double())
    return inverse.float()


def linear_magnitudes(log_mel: torch.Tensor) -> torch.Tensor:
    """Return magnitudes whose mel bands approximate the given ones.

    The pseudo-inverse of the filters, then multiplicative updates that keep the values positive (Lee
    and Seung 2001, equation 4).

    Args:
        log_mel: (T, BANDS) float32.

    Returns:
        (WINDOW // 2 + 1, T) float32, positive.
    """
    filters = mel_filters()
    target = torch.exp(log_mel).T
    magnitudes = (_pseudo_inverse() @ target).clamp(min=_SMALLEST)
    wanted = filters.T @ target
    for _ in range(_NON_NEGATIVE_STEPS):
        magnitudes = magnitudes * wanted / (filters.T @ (filters @ magnitudes) + _SMALLEST)
    return magnitudes


def griffin_lim(magnitudes: torch.Tensor, iterations: int) -> torch.Tensor:
    """Find phases for magnitudes by the fast Griffin-Lim algorithm.

    Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (2013), with momentum 0.99; the
    first phases are random from a fixed seed, so the result is the same each time.

    Args:
        magnitudes: (WINDOW // 2 + 1, T) float32.
        iterations: 32 is intelligible, 60 sounds a little smoother.

    Returns:
        ((T - 1) * HOP,) float32; one hop of silence for a single frame.
    """
    frames = magnitudes.shape[1]
    if frames < 2:
        return torch.zeros(HOP)
    generator = torch.Generator().manual_seed(_PHASE_SEED)
    angles = torch.rand(magnitudes.shape, generator=generator) * (2 * torch.pi)
    phases = torch.polar(torch.ones_like(angles), angles)
    previous = torch.zeros_like(phases)
    length = (frames - 1) * HOP
    for _ in range(iterations):
        wave = torch.istft(magnitudes * phases, WINDOW, HOP, window=window(), length=length)
        rebuilt = torch.stft(
            wave, WINDOW, HOP, window=window(), pad_mode="constant", return_complex=True
        )
        accelerated = rebuilt + _MOMENTUM * (rebuilt - previous)
        phases = accelerated / accelerated.abs().clamp(min=_SMALLEST)
        previous = rebuilt
    return torch.istft(magnitudes * phases, WINDOW, HOP, window=window(), length=length)
