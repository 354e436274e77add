from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from unbroken.errors import SettingsInvalid
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import VOICES, make_corpus


@pytest.mark.parametrize(("language", "at_least"), [("am", 360), ("en", 240)])
def test_sentences_are_many_and_different(language: str, at_least: int) -> None:
    """Each language has its promised number of sentences, no two alike."""
    sentences = load_sentences(language)
    assert at_least <= len(sentences)
    assert len(sentences) == len(set(sentences))


def test_unknown_language_is_refused() -> None:
    """A language without sentences is a settings error that names the languages there are."""
    with pytest.raises(SettingsInvalid, match="only in am and en"):
        load_sentences("xx")


@pytest.mark.parametrize("language", ["am", "en"])
def test_corpus_is_bit_identical(tmp_path: Path, language: str) -> None:
    """The same job in two processes gives the same bytes, for each of the voices."""
    sentences = load_sentences(language)[:8]
    first = make_corpus(tmp_path / "first", language, sentences, VOICES[language])
    second = make_corpus(tmp_path / "second", language, sentences, VOICES[language])
    assert first.digest == second.digest
    assert first.utterances == len(list((tmp_path / "first" / "wavs").glob("*.wav")))


def test_finished_corpus_is_kept(tmp_path: Path) -> None:
    """A second call with the same sentences speaks nothing again."""
    calls: list[int] = []
    for _ in range(2):
        make_corpus(tmp_path, "am", ["ሰላም"], ["am"], progress=lambda done, _all: calls.append(done))
    assert calls == [1]


def test_damaged_corpus_is_spoken_again(tmp_path: Path) -> None:
    """A recording that changed since is noticed by its digest and made anew."""
    first = make_corpus(tmp_path, "am", ["ሰላም", "ውሃ"], ["am"])
    (tmp_path / "wavs" / "am_0001.wav").write_bytes(b"torn")
    assert first.digest == make_corpus(tmp_path, "am", ["ሰላም", "ውሃ"], ["am"]).digest
    assert (tmp_path / "wavs" / "am_0001.wav").read_bytes()[:4] == b"RIFF"


def test_missing_espeak_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional wheel the message says how to install it."""
    find_spec = importlib.util.find_spec

    def without_espeak(name: str, *rest: Any) -> Any:
        return None if name == "espeakng_loader" else find_spec(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without_espeak)
    with pytest.raises(SettingsInvalid, match=r"pip install unbroken\[demo\]"):
        make_corpus(tmp_path, "am", ["ሰላም"], ["am"])


def test_unknown_voice_is_a_clear_error(tmp_path: Path) -> None:
    """What goes wrong inside the child comes back in one sentence."""
    with pytest.raises(SettingsInvalid, match="no voice 'nobody'"):
        make_corpus(tmp_path, "am", ["ሰላም"], ["nobody"])
