"""Makes the data of a demo: spoken sentences, a codec, a base tokenizer and its extension.

Everything is made by the code that prepares a user's recordings. The directory is named by a digest
of everything that determines its content, so a second demo reuses it and a changed one doesn't.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean

import yaml

from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import VOICES, Corpus, make_corpus
from unbroken_tts.demo.scale import Scale
from unbroken_tts.prepare.audio import read_audio
from unbroken_tts.prepare.codec.melvq import MelVq, stacked_frames
from unbroken_tts.prepare.codec.registry import DESCRIPTION as CODEC_FILE
from unbroken_tts.prepare.fitting import Stages
from unbroken_tts.prepare.mel import SAMPLE_RATE
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan
from unbroken_tts.prepare.summary import Summary
from unbroken_tts.prepare.written import write_whole

_COMMON = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The files that a demo makes before any training."""

    directory: Path
    """Named by a digest of everything that determines its content."""
    corpora: dict[str, Corpus]
    """By language."""
    config: Path
    """The configuration of the model."""
    codec: Path
    """One code book for both languages."""
    english: Summary
    """The data of the base."""
    amharic: Summary
    """The data of A, B and C."""


def make_material(output: Path, scale: Scale, stages: Stages) -> Material:
    """Make speech, fit the codec, and prepare both languages; reuse the files of an earlier demo.

    Args:
        output: Directory of the demo.
        scale: How much of everything.
        stages: Draws progress.

    Raises:
        SettingsInvalid: espeak-ng is not installed, or the disk is full.
    """
    corpora = _speak(output / "corpus" / scale.name, scale, stages)
    directory = output / "data" / _key(scale, [each.digest for each in corpora.values()])
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "config.yaml"
    text = yaml.safe_dump({"gpt": scale.gpt_section()}, sort_keys=False)
    write_whole(config, text.encode())
    codec = directory / "codec"
    if not (codec / CODEC_FILE).is_file():
        _fit_codec(codec, list(corpora.values()), stages)
    english = _prepare(
        corpora["en"],
        directory / "english",
        TokenizerPlan(kind="train", size=scale.base_vocabulary),
        scale,
        codec,
        stages,
    )
    amharic = _prepare(
        corpora["am"],
        directory / "amharic",
        TokenizerPlan(
            kind="extend",
            path=english.tokenizer,
            size=scale.vocabulary,
            base_texts=tuple(load_sentences("en")),
        ),
        scale,
        codec,
        stages,
    )
    return Material(
        directory=directory,
        corpora=corpora,
        config=config,
        codec=codec,
        english=english,
        amharic=amharic,
    )


def _speak(output: Path, scale: Scale, stages: Stages) -> dict[str, Corpus]:
    """Make the speech of both languages, or find that of an earlier demo."""
    return {
        language: make_corpus(
            output / language,
            language,
            sentences,
            VOICES[language][: scale.voices],
            progress=stages(f"Speaking {name}"),
        )
        for language, name, sentences in (
            ("en", "English", load_sentences("en")[: scale.english]),
            ("am", "Amharic", recurring(load_sentences("am"), scale.amharic)),
        )
    }


def recurring(sentences: Sequence[str], count: int) -> list[str]:
    """Return the `count` sentences that share most of their words, in their order.

    The model then hears each word often, so a few minutes of training are enough. The sentence with
    the rarest words is removed first, until `count` are left.
    """
    kept = list(sentences)
    words = {each: set(each.rstrip("።").split()) for each in kept}
    while len(kept) > count:
        counts = Counter(word for each in kept for word in words[each])
        # A word in this many sentences is common enough.
        worth = {each: fmean(min(counts[w], _COMMON) for w in words[each]) for each in kept}
        kept.remove(min(kept, key=lambda each: worth[each]))
    return kept


def _key(scale: Scale, corpora: Sequence[str]) -> str:
    """Return a digest of everything that determines the material."""
    try:
        torch_version = version("torch")
    except PackageNotFoundError:
        torch_version = "unknown"
    recipe = json.dumps([asdict(scale), list(corpora), torch_version], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _fit_codec(directory: Path, corpora: Sequence[Corpus], stages: Stages) -> None:
    """Fit one code book on both languages, so that base and fine-tuned voice share their codes."""
    recordings = [path for each in corpora for path in sorted(each.directory.glob("wavs/*.wav"))]
    listening = stages("Reading speech for the codec")
    frames = []
    for done, path in enumerate(recordings, start=1):
        frames.append(stacked_frames(read_audio(path, SAMPLE_RATE), SAMPLE_RATE))
        listening(done, len(recordings))
    MelVq.fit(frames, progress=stages("Fitting the codec")).save(directory)


def _prepare(
    corpus: Corpus,
    output: Path,
    tokenizer: TokenizerPlan,
    scale: Scale,
    codec: Path,
    stages: Stages,
) -> Summary:
    plan = PreparePlan(
        tokenizer=tokenizer, config=scale.config(), codec=codec, val_ratio=scale.val_ratio
    )
    return prepare(corpus.metadata, output, plan, stages=stages)
