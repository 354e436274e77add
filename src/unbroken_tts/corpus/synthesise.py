"""Speaks sentences with espeak-ng in a child process and writes them as a small corpus.

The result is the same to the last bit for the same sentences, voices and rates, because each corpus
is one child process with one fixed order of calls (see `espeak_child`). espeak-ng is
GPL-3.0-or-later and an optional extra: `pip install unbroken[demo]`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken import SettingsInvalid
from unbroken_tts.progress import Progress, ignore_progress

VOICES = {
    "am": ("am", "am+f1", "am+m3", "am+f4"),
    "en": ("en-us", "en-us+f1", "en-us+m3", "en-us+f4"),
}
"""The four speakers of each language, as espeak-ng names them.

Only variants without a `breath` line: their noise differs from process to process (measured: all
recordings of f2, f3 and f5 differ between two equal jobs, none of the base voice, f1, f4, m1, m3).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Spoken sentences on disk."""

    directory: Path
    """Contains `metadata.jsonl`, `wavs/` and `corpus.json`."""
    metadata: Path
    """JSON Lines: id, audio, text, speaker, language; in the order of speaking."""
    utterances: int
    """Number of recordings."""
    digest: str
    """SHA-256 over the metadata and the bytes of every recording, in order."""


def _run_child(job: dict[str, Any], progress: Progress, total: int) -> None:
    if importlib.util.find_spec("espeakng_loader") is None:
        raise SettingsInvalid(
            "The package espeakng-loader is not installed.",
            "The demo corpus is spoken by espeak-ng, which is GPL-3.0-or-later "
            "and therefore an optional extra.",
            "Install it with: pip install unbroken[demo]",
        )
    source_root = str(Path(__file__).parents[2])
    search_path = os.pathsep.join(filter(None, [source_root, os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory(prefix="espeak-") as directory:
        job_path = Path(directory, "job.json")
        job_path.write_text(json.dumps(job), encoding="utf-8", newline="\n")
        command = [sys.executable, "-m", "unbroken_tts.corpus.espeak_child", str(job_path)]
        with subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": search_path, "PYTHONIOENCODING": "utf-8"},
        ) as child:
            assert child.stdout is not None
            for done, _line in enumerate(child.stdout, start=1):
                progress(done, total)
            assert child.stderr is not None
            complaint = child.stderr.read().strip().splitlines()
        if child.returncode != 0:
            raise SettingsInvalid(
                f"espeak-ng ended with status {child.returncode}: "
                f"{complaint[-1] if complaint else 'no message'}.",
                "Without its speech there is no corpus.",
                "Reinstall the optional extra with: pip install --force-reinstall espeakng-loader",
            )


def phonemes(texts: Sequence[str], voice: str) -> list[str]:
    """Return the pronunciation of each text in the International Phonetic Alphabet.

    Args:
        texts: Any texts.
        voice: A voice such as `am`.

    Raises:
        SettingsInvalid: espeak-ng is not installed or failed.
    """
    if not texts:
        return []
    with tempfile.TemporaryDirectory(prefix="phonemes-") as directory:
        answer = Path(directory, "phonemes.json")
        items = [{"voice": voice, "text": text} for text in texts]
        _run_child({"phonemes": items, "phonemes_path": str(answer)}, ignore_progress, 0)
        spoken: list[str] = json.loads(answer.read_text(encoding="utf-8"))
        return spoken


def _corpus_digest(metadata: Path, recordings: Sequence[Path]) -> str:
    digest = hashlib.sha256(metadata.read_bytes())
    for recording in recordings:
        digest.update(hashlib.sha256(recording.read_bytes()).digest())
    return digest.hexdigest()


def _entries(
    language: str, sentences: Sequence[str], voices: Sequence[str]
) -> list[dict[str, str]]:
    # Voices alternate, so each speaks every kind of sentence, and the first n entries are mixed.
    return [
        {
            "id": f"{language}_{number:04d}",
            "audio": f"wavs/{language}_{number:04d}.wav",
            "text": sentence,
            "speaker": voices[number % len(voices)].replace("+", "_"),
            "language": language,
        }
        for number, sentence in enumerate(sentences)
    ]


def make_corpus(
    output: Path,
    language: str,
    sentences: Sequence[str],
    voices: Sequence[str],
    *,
    rate: int = 190,
    progress: Progress = ignore_progress,
) -> Corpus:
    """Speak `sentences` with alternating voices, and write recordings and metadata.

    Sentence n is spoken by voice n modulo the number of voices. A complete corpus of the same
    sentences, voices and rate in `output` is kept; `corpus.json`, written last, marks it complete.

    Args:
        output: Directory to create or complete.
        language: Language tag written into the metadata, such as `am`.
        sentences: Texts to say, in order.
        voices: espeak-ng voices, such as `am+f3`.
        rate: Words per minute.
        progress: Called with (recordings done, recordings in total).

    Returns:
        The corpus, with its paths and its digest.

    Raises:
        SettingsInvalid: espeak-ng is not installed or failed.
    """
    entries = _entries(language, sentences, voices)
    recipe = {
        "language": language,
        "sentences": hashlib.sha256("\n".join(sentences).encode()).hexdigest(),
        "voices": list(voices),
        "rate": rate,
    }
    metadata, record = output / "metadata.jsonl", output / "corpus.json"
    recordings = [output / entry["audio"] for entry in entries]
    done = _finished_digest(record, recipe, metadata, recordings)
    if done is None:
        (output / "wavs").mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        speech = [
            {
                "voice": voices[number % len(voices)],
                "rate": rate,
                "text": entry["text"],
                "path": str(recordings[number]),
            }
            for number, entry in enumerate(entries)
        ]
        _run_child({"speech": speech}, progress, len(speech))
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        metadata.write_text(lines, encoding="utf-8", newline="\n")
        done = _corpus_digest(metadata, recordings)
        text = json.dumps({**recipe, "digest": done}, indent=2) + "\n"
        record.write_text(text, encoding="utf-8", newline="\n")
    return Corpus(directory=output, metadata=metadata, utterances=len(entries), digest=done)


def _finished_digest(
    record: Path, recipe: dict[str, Any], metadata: Path, recordings: Sequence[Path]
) -> str | None:
    if not record.is_file():
        return None
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        return None
    present = metadata.is_file() and all(recording.is_file() for recording in recordings)
    if {**recipe, "digest": known.get("digest")} != known or not present:
        return None
    digest = _corpus_digest(metadata, recordings)
    return digest if digest == known["digest"] else None
