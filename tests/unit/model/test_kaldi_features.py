from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from unbroken_tts.model.kaldi_features import BANKS, RATE, centred, filter_banks


@pytest.mark.parametrize("samples", [400, 559, 560, 8_000])
def test_filter_banks_are_those_of_another_implementation(samples: int) -> None:
    """Speech-like noise, an offset and a pause: as `transformers` computes Kaldi's filter banks."""
    draw = torch.Generator().manual_seed(samples)
    wave = 0.1 * torch.randn(samples, generator=draw) + 0.02
    wave[3_000:5_000] = 0.02
    triangles = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=BANKS,
        min_frequency=20.0,
        max_frequency=RATE / 2,
        sampling_rate=RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    expected = spectrogram(
        wave.numpy(),
        window_function(400, "povey", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=triangles,
        log_mel="log",
        mel_floor=float(torch.finfo(torch.float32).eps),
        remove_dc_offset=True,
    )
    found = filter_banks(wave)
    assert ((samples - 240) // 160, BANKS, torch.float32) == (*found.shape, found.dtype)
    np.testing.assert_allclose(found.numpy(), expected.T, rtol=0, atol=1e-4)


def test_silence_is_the_smallest_number_that_kaldi_knows() -> None:
    """A constant wave has no energy; its logarithm is that of the float32 epsilon."""
    silent = filter_banks(torch.full((720,), 0.3))
    torch.testing.assert_close(
        silent, torch.full((3, BANKS), math.log(torch.finfo(torch.float32).eps))
    )


def test_a_louder_recording_has_the_same_centred_banks() -> None:
    """What is the same in all frames, as loudness is, is taken away."""
    wave = torch.randn(4_000, generator=torch.Generator().manual_seed(1))
    quiet, loud = centred(filter_banks(0.1 * wave)), centred(filter_banks(wave))
    torch.testing.assert_close(quiet, loud, rtol=0, atol=1e-4)
