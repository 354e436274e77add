"""Lets the trained voices speak: sentences of the training data, and some held back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unbroken_tts.corpus.synthesise import VOICES
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.demo.material import Material
from unbroken_tts.demo.scale import Scale
from unbroken_tts.model.sampling import Sampling
from unbroken_tts.prepare.audio import Wave, read_audio, write_audio
from unbroken_tts.prepare.judge import identify
from unbroken_tts.prepare.mel import SAMPLE_RATE
from unbroken_tts.progress import Progress
from unbroken_tts.speak.speaker import speaker_of
from unbroken_tts.speak.speech import Spoken, line_of, speak
from unbroken_tts.speak.voice import Voice, open_voice

SPEAKER = VOICES["am"][0]
"""The espeak-ng voice used for prompts and comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence to speak."""

    id: str
    """Id of its utterance in the corpus."""
    text: str
    """Normalised."""
    prompt: str
    """Id of the utterance whose conditioning is used."""
    is_trained: bool
    """Whether it was trained on."""
    recording: Path
    """The recording by espeak-ng."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """A sentence spoken by a trained voice."""

    sentence: Sentence
    codes: list[int]
    """The codes, decoded greedily."""
    file: Path
    """Its sound."""
    digest: str
    """SHA-256 of the file, shortened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How many spoken sentences were recognised."""

    right: int
    """Number of sentences that are nearest to their own recording."""
    of: int
    """Sentences judged."""
    candidates: int
    """Number of recordings, all of the same voice, with which each sentence was compared."""
    ranks: tuple[int, ...]
    """The rank of each sentence's own recording; 1 is nearest."""


def sentences_of(material: Material, scale: Scale) -> list[Sentence]:
    """Return the sentences to speak: first those of the training data, then those held back."""
    trained = _sentences(material, "train", is_trained=True)[: scale.spoken]
    return trained + _sentences(material, "val", is_trained=False)[: scale.unseen]


def _sentences(material: Material, side: str, *, is_trained: bool) -> list[Sentence]:
    pairs = load_pairs([str(material.amharic.output / f"{side}_pairs.jsonl")])
    found: dict[str, Sentence] = {}
    for place, speaker in enumerate(pairs.speakers):
        if speaker == SPEAKER and pairs.target_ids[place] not in found:
            found[pairs.target_ids[place]] = _sentence(material, pairs, place, is_trained)
    return list(found.values())


def _sentence(material: Material, pairs: Pairs, place: int, is_trained: bool) -> Sentence:
    name = pairs.target_ids[place]
    return Sentence(
        id=name,
        text=pairs.texts[place] or "",
        prompt=pairs.prompt_ids[place],
        is_trained=is_trained,
        recording=material.corpora["am"].directory / "wavs" / f"{name}.wav",
    )


def open_trained(run: Path, material: Material) -> Voice:
    """Open the voice of a training."""
    manifests = [str(material.amharic.output / f"{side}_pairs.jsonl") for side in ("train", "val")]
    return open_voice(run, config=material.config, manifests=manifests)


def say(
    voice: Voice, sentences: Sequence[Sentence], texts: Sequence[str], progress: Progress
) -> list[Spoken]:
    """Speak texts greedily, with the prompts of `sentences`."""
    config = voice.model.config
    longest = voice.model.config.longest_text
    lines = [line_of(text, "am", voice.tokenizer, longest, voice.front) for text in texts]
    speakers = [speaker_of(each.prompt, None, voice.manifests, config) for each in sentences]
    return speak(voice, lines, speakers, Sampling(greedy=True), progress=progress)


def say_into(
    directory: Path, voice: Voice, sentences: Sequence[Sentence], progress: Progress
) -> list[Speech]:
    """Speak sentences greedily, each into its own file."""
    directory.mkdir(parents=True, exist_ok=True)
    said = say(voice, sentences, [each.text for each in sentences], progress)
    speech = []
    for sentence, spoken in zip(sentences, said, strict=True):
        file = directory / f"{sentence.id}.wav"
        write_audio(file, spoken.wave, SAMPLE_RATE)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        speech.append(Speech(sentence=sentence, codes=spoken.codes, file=file, digest=digest))
    return speech


def judge(
    waves: Sequence[Wave], sentences: Sequence[Sentence], material: Material, count: int
) -> Judgement:
    """Find the nearest recording of the same voice for each sentence, by MFCC and time warping.

    Args:
        waves: The speech, one wave per sentence.
        sentences: The sentences that should have been spoken.
        material: Contains the recordings.
        count: Number of recordings; those of `sentences` first, then others of the training data.
    """
    others = _sentences(material, "train", is_trained=True)
    known = {each.id: each.recording for each in [*sentences, *others]}
    names = list(known)[:count]
    recordings = [read_audio(known[name], SAMPLE_RATE) for name in names]
    ranks = [
        1 + [names[place] for place in identify(wave, recordings)].index(sentence.id)
        if len(wave)
        else len(names)
        for wave, sentence in zip(waves, sentences, strict=True)
    ]
    return Judgement(right=ranks.count(1), of=len(ranks), candidates=len(names), ranks=tuple(ranks))


def exchanged(texts: Sequence[str]) -> list[str]:
    """Return the texts, each moved to the place of another."""
    return [*texts[1:], *texts[:1]]
