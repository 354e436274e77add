from __future__ import annotations

import numpy as np
import pytest

from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.prepare.audio import Wave, read_audio
from unbroken_tts.prepare.conditioning import Conditioner, MelStat


@pytest.fixture(scope="module")
def waves(corpus: Corpus) -> list[Wave]:
    """All recordings: even numbers are the first voice, odd ones the second."""
    return [read_audio(path, 22_050) for path in sorted((corpus.directory / "wavs").glob("*.wav"))]


@pytest.mark.parametrize(("rows", "width"), [(32, 64), (4, 16), (1, 1_280)])
def test_conditioning_has_the_asked_shape(waves: list[Wave], rows: int, width: int) -> None:
    """Rows and width come from the model; values are finite, moderate, and the same every time."""
    maker = MelStat(rows, width)
    assert isinstance(maker, Conditioner)
    first, second = maker.condition(waves[0], 22_050), maker.condition(waves[0], 22_050)
    assert ((rows, width), (width,)) == (first.condition.shape, first.emo_vec.shape)
    assert {np.dtype(np.float32)} == {first.condition.dtype, first.emo_vec.dtype}
    assert np.array_equal(first.condition, second.condition)
    assert np.array_equal(first.emo_vec, second.emo_vec)
    assert 0.01 < np.abs(first.condition).mean() < 2
    assert np.isfinite(first.emo_vec).all()


def test_conditioning_tells_voices_apart(waves: list[Wave]) -> None:
    """The mean row is nearer to the same voice's mean than to the other's, for nearly all."""
    maker = MelStat(8, 64)
    means = np.stack([maker.condition(wave, 22_050).condition.mean(axis=0) for wave in waves])
    voices = np.stack([means[0::2].mean(axis=0), means[1::2].mean(axis=0)])
    nearest = np.square(means[:, None] - voices[None]).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(len(waves)) % 2).mean() >= 0.9


def test_very_short_sound_is_conditioned() -> None:
    """A few samples still give finite rows."""
    made = MelStat(32, 16).condition(np.full(3, 0.1, dtype=np.float32), 22_050)
    assert np.isfinite(made.condition).all()
    assert np.isfinite(made.emo_vec).all()


def test_projection_is_a_fixed_scheme() -> None:
    """The fixed matrix never changes. Noise fills every band: the logarithm of none is of rounding."""
    numbers = (
        np.arange(22_050, dtype=np.uint64) * np.uint64(1_103_515_245) % np.uint64(2_147_483_647)
    )
    sound = (numbers / 2_147_483_647 - 0.5).astype(np.float32)
    made = MelStat(2, 4).condition(sound, 22_050)
    assert GOLDEN == pytest.approx([float(value) for value in made.condition.ravel()], abs=1e-4)


GOLDEN = [0.62335, 1.32345, 0.64231, 0.23206, 0.62219, 1.324, 0.64388, 0.23143]
