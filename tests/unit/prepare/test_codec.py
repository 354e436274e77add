from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import Corpus, make_corpus
from unbroken_tts.prepare.audio import Wave, read_audio
from unbroken_tts.prepare.codec import Codec, EncodeOnly, load_codec, register_codec
from unbroken_tts.prepare.codec.kmeans import kmeans, nearest
from unbroken_tts.prepare.codec.melvq import MelVq, stacked_frames
from unbroken_tts.prepare.judge import distance, identify
from unbroken_tts.prepare.mel import HOP, log_mel, mel_filters
from unbroken_tts.prepare.single_thread import single_thread

NOISE = torch.randn(1_000, 8, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def waves(corpus: Corpus) -> list[Wave]:
    """All recordings of the small corpus."""
    return [read_audio(path, 22_050) for path in sorted((corpus.directory / "wavs").glob("*.wav"))]


@pytest.fixture(scope="module")
def codec(waves: list[Wave]) -> MelVq:
    """A book of 64 codes."""
    return MelVq.fit([stacked_frames(wave, 22_050) for wave in waves], size=64)


def test_spectrogram_has_its_shape() -> None:
    """A tone lights up the band around it, one frame every 256 samples."""
    wave = torch.sin(2 * torch.pi * 1_000 * torch.arange(22_050) / 22_050)
    mel = log_mel(wave)
    assert (22_050 // HOP + 1, 80) == mel.shape
    centre = (mel_filters()[:, round(1_000 / 22_050 * 1_024)]).argmax()
    assert abs(int(mel[20].argmax()) - int(centre)) <= 1
    assert mel.min() >= np.log(1e-5) - 1e-5


def test_codes_are_a_function_of_the_recording(codec: MelVq, waves: list[Wave]) -> None:
    """Codes are int32 in the book, at 21.5 a second, and the same every time, whatever the threads."""
    assert pytest.approx(21.53, abs=0.01) == codec.codes_per_second
    for wave in waves[:3]:
        codes = codec.encode(wave, 22_050)
        assert (np.dtype(np.int32), True) == (
            codes.dtype,
            bool((codes >= 0).all() and (codes < 64).all()),
        )
        assert abs(len(codes) - len(wave) / 22_050 * codec.codes_per_second) <= 1
        assert np.array_equal(codes, codec.encode(wave, 22_050))


def test_fitting_is_deterministic(codec: MelVq, waves: list[Wave]) -> None:
    """The same recordings give the same book to the last bit."""
    again = MelVq.fit([stacked_frames(wave, 22_050) for wave in waves], size=64)
    assert codec.fingerprint == again.fingerprint


def test_saved_codec_is_the_same(codec: MelVq, waves: list[Wave], tmp_path: Path) -> None:
    """A codec read from its directory gives the same codes and the same sound."""
    codec.save(tmp_path)
    loaded = load_codec(tmp_path)
    assert isinstance(loaded, Codec)
    assert codec.fingerprint == loaded.fingerprint
    codes = codec.encode(waves[0], 22_050)
    assert np.array_equal(codes, loaded.encode(waves[0], 22_050))
    assert np.array_equal(codec.decode(codes), loaded.decode(codes))


def test_damaged_codec_is_refused(codec: MelVq, tmp_path: Path) -> None:
    """A book that is not the described one, or not there, is refused."""
    codec.save(tmp_path)
    book = tmp_path / "book.safetensors"
    content = bytearray(book.read_bytes())
    content[-1] ^= 1
    book.write_bytes(bytes(content))
    with pytest.raises(DataInvalid, match="fingerprint"):
        load_codec(tmp_path)
    book.unlink()
    with pytest.raises(DataInvalid, match="can't be read"):
        load_codec(tmp_path)
    with pytest.raises(DataInvalid, match="description"):
        load_codec(tmp_path / "nowhere")


def test_codes_outside_the_book_are_refused(codec: MelVq) -> None:
    """Start and stop are no codes and make no sound."""
    with pytest.raises(DataInvalid, match="from 0 to 64"):
        codec.decode(np.array([0, 64], dtype=np.int32))
    assert len(codec.decode(np.zeros(0, dtype=np.int32))) == 0


class Semantic(EncodeOnly):
    """What a reader of the IndexTTS2 semantic codec would look like from outside."""

    name, size, codes_per_second, sample_rate, fingerprint = "semantic", 8_192, 50.0, 16_000, "ab"

    def encode(self, wave: Wave, rate: int) -> Any:
        return np.arange(int(len(wave) / rate * 50), dtype=np.int32) % 8_192

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "codec.json").write_text(json.dumps({"codec": self.name}), encoding="utf-8")


def test_another_codec_fits_the_seam(tmp_path: Path) -> None:
    """A codec of 8,192 codes at 50 a second that can't decode is loaded by its name."""
    assert isinstance(Semantic(), Codec)
    Semantic().save(tmp_path)
    with pytest.raises(
        SettingsInvalid,
        match=r"no codec called 'semantic'; known are: indextts-2\.5, maskgct, melvq",
    ):
        load_codec(tmp_path)
    register_codec("semantic", lambda _directory: Semantic())
    loaded = load_codec(tmp_path)
    assert (8_192, 50.0, False) == (loaded.size, loaded.codes_per_second, loaded.can_decode)
    with pytest.raises(SettingsInvalid, match="can't decode"):
        loaded.decode(np.zeros(3, dtype=np.int32))
    with pytest.raises(SettingsInvalid, match="already a codec"):
        register_codec("melvq", lambda _directory: Semantic())


def test_kmeans_finds_separate_heaps() -> None:
    """Vectors in three heaps get three centres in the middle of them."""
    heaps = torch.tensor([[0.0] * 8, [50.0] * 8, [-50.0] * 8]).repeat(40, 1)
    vectors = heaps + NOISE[:120] * 0.1
    centres = kmeans(vectors, 3, iterations=5, seed=1)
    _, distances = nearest(vectors, centres)
    assert float(distances.max()) < 1


def test_kmeans_with_fewer_vectors_than_centres() -> None:
    """Every vector is its own centre; the surplus repeats and is never chosen."""
    vectors = NOISE[:5]
    centres = kmeans(vectors, 12, iterations=5, seed=1)
    indices, distances = nearest(vectors, centres)
    assert (12, 8) == centres.shape
    assert float(distances.max()) < 1e-5
    assert int(indices.max()) < 5


def test_single_thread_puts_the_count_back() -> None:
    """The thread count of the process is the same after, also after an error."""
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="boom"), single_thread():
        raise ValueError("boom")
    assert before == torch.get_num_threads()


def test_judge_recognises_decoded_sentences(tmp_path: Path) -> None:
    """All of 12 encoded and decoded sentences are found among 32 of the same voice."""
    corpus = make_corpus(tmp_path, "am", load_sentences("am")[48:80], ["am"])
    paths = sorted((corpus.directory / "wavs").glob("*.wav"))
    waves = [read_audio(path, 22_050) for path in paths]
    codec = MelVq.fit([stacked_frames(wave, 22_050) for wave in waves], size=256)
    decoded = [codec.decode(codec.encode(wave, 22_050)) for wave in waves[:12]]
    assert list(range(12)) == [identify(sound, waves)[0] for sound in decoded]


def test_judge_measures_distance(waves: list[Wave]) -> None:
    """A recording is nearest to itself, also when it is slower, and the way does not matter."""
    assert distance(waves[0], waves[0]) == pytest.approx(0, abs=1e-3)
    there, back = distance(waves[0], waves[1]), distance(waves[1], waves[0])
    assert there == pytest.approx(back, rel=1e-4)
    slower = np.repeat(waves[0].reshape(-1, 1)[: len(waves[0]) // 512 * 512].reshape(-1, 512), 2, 0)
    assert identify(slower.reshape(-1), waves)[0] == 0
