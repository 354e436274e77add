"""The log-mel spectrogram, used by the default codec, the conditioning and the judge.

Windows of 1,024 samples every 256 at 22,050 Hz, 80 bands from 0 to 8,000 Hz: the usual analysis for
this rate since Tacotron 2 and HiFi-GAN (Kong et al. 2020, section 4.1).
"""

from __future__ import annotations

from functools import cache

import torch

SAMPLE_RATE = 22_050
"""Samples per second."""
WINDOW = 1_024
"""Samples in a window (n_fft)."""
HOP = 256
"""Samples from one frame to the next; 86.1 frames a second."""
BANDS = 80
"""Mel bands."""
HIGHEST_HERTZ = 8_000.0
"""Upper edge of the last band."""
FLOOR = 1e-5
"""Smallest magnitude: the logarithm is at least -11.5."""


def _mel(hertz: torch.Tensor) -> torch.Tensor:
    """O'Shaughnessy 1987: m = 2595 log10(1 + f / 700)."""
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


@cache
def mel_filters() -> torch.Tensor:
    """Return the triangular filters, (BANDS, WINDOW // 2 + 1) float32, each of peak height 1.

    Band b rises from edge b to edge b + 1 and falls to edge b + 2; the edges are equally spaced in
    mel (Davis and Mermelstein 1980).
    """
    bins = torch.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    highest = _mel(torch.tensor(HIGHEST_HERTZ, dtype=torch.float64))
    steps = torch.linspace(0, 1, BANDS + 2, dtype=torch.float64) * highest
    edges = 700.0 * (10.0 ** (steps / 2595.0) - 1.0)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


@cache
def window() -> torch.Tensor:
    """Return the periodic Hann window, (WINDOW,) float32."""
    return torch.hann_window(WINDOW)


def log_mel(wave: torch.Tensor) -> torch.Tensor:
    """Return the natural logarithm of the mel magnitudes of a recording.

    Args:
        wave: (S,) float32 at `SAMPLE_RATE`, S > 0; ends are padded with silence.

    Returns:
        (S // HOP + 1, BANDS) float32, at least log(FLOOR); frame t is centred on sample t * HOP.
    """
    spectrum = torch.stft(
        wave, WINDOW, HOP, window=window(), center=True, pad_mode="constant", return_complex=True
    )
    magnitudes = mel_filters() @ spectrum.abs()  # (BANDS, F) x (F, T) -> (BANDS, T)
    return torch.log(magnitudes.clamp(min=FLOOR)).T.contiguous()
