"""Small valid paired data for tests: a manifest with its arrays, learnable, written in a moment.

The codes are a function of the text (and of nothing else), so a model that trains on these pairs
learns something; the text is words of a tokenizer that `write_tokenizer` writes as a real
SentencePiece model. Everything depends on the arguments alone.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIRST_WORD = 3
"""Ids 0, 1, 2 are `<s>`, `</s>`, `<unk>`."""


def word(token: int) -> str:
    """Return the word of a token: three syllables, different for each token below 18,000."""
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    syllables = [c + v for c in consonants for v in vowels]
    mixed = token * 7919 % 343_000
    return "".join(syllables[mixed // 70**i % 70] for i in range(3))


def write_tokenizer(path: Path, vocabulary: int = 40) -> Path:
    """Write a SentencePiece model with `vocabulary` pieces, one word each, and return its path."""
    proto: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")  # untyped
    model = proto.ModelProto()
    spec = model.trainer_spec
    spec.model_type = spec.WORD
    spec.vocab_size = vocabulary
    spec.bos_id, spec.eos_id, spec.unk_id, spec.pad_id = 0, 1, 2, -1
    model.normalizer_spec.add_dummy_prefix = True
    kinds = proto.ModelProto.SentencePiece
    for piece, kind in (
        ("<s>", kinds.CONTROL),
        ("</s>", kinds.CONTROL),
        ("<unk>", kinds.UNKNOWN),
    ):
        model.pieces.add(piece=piece, score=0.0, type=kind)
    for token in range(FIRST_WORD, vocabulary):
        model.pieces.add(piece="\u2581" + word(token), score=float(-token), type=kinds.NORMAL)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def codes_of(text_ids: np.ndarray[Any, Any], codes: int, per_token: int) -> np.ndarray[Any, Any]:
    """Return the int32 codes of a text: `per_token` consecutive codes for each text id."""
    first = text_ids.astype(np.int64)[:, None] * 7
    return ((first + 3 * np.arange(per_token)) % codes).astype(np.int32).reshape(-1)


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """The language of texts, and how they are encoded."""

    language: str = "xx"
    encode: Callable[[str], list[int]] | None = None
    """Without it every word has a token of its own."""
    before: str = ""
    """What every text begins with."""

    def of(self, drawn: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], str]:
        """Return ids and words of a text whose words were drawn by number."""
        words = self.before + " ".join(word(int(token)) for token in drawn)
        ids = drawn if self.encode is None else np.array(self.encode(words), np.int32)
        return ids, words


def write_pairs(
    directory: Path,
    count: int,
    *,
    seed: int = 0,
    split: str = "train",
    vocabulary: int = 40,
    codes: int = 32,
    model_dim: int = 16,
    condition_rows: int = 32,
    condition_width: int = 0,
    text_lengths: tuple[int, int] = (3, 12),
    codes_per_token: int = 2,
    pairs_per_target: int = 2,
    speakers: int = 2,
    spoken: Spoken | None = None,
) -> Path:
    """Write `count` valid pairs and their arrays; return the manifest's path.

    Args:
        directory: Gets `<split>_pairs.jsonl` and `features/<kind>/<split>_NNNNN.npy`.
        count: Number of pairs, at least 1.
        seed: Another seed writes other texts and other conditioning.
        split: Begins the manifest's name and every id.
        vocabulary: Text ids are drawn from [3, vocabulary).
        codes: Codes lie in [0, codes); it is the model's `start_mel_token`.
        model_dim: Width D of the emotion vector.
        condition_rows: Rows of the conditioning, 32 in the real model.
        condition_width: Its width; 0 for D.
        text_lengths: Shortest and longest text, in tokens, both inclusive.
        codes_per_token: A text of T tokens has T times as many codes.
        pairs_per_target: Prompts of each target; consecutive lines share a target.
        speakers: Speakers take turns; a prompt is always of the target's speaker.
        spoken: Language and encoding of the texts.
    """
    spoken = spoken or Spoken()
    generator = np.random.default_rng([seed, *split.encode()])
    per_speaker = max(-(-count // (pairs_per_target * speakers)), pairs_per_target + 1)
    utterances = per_speaker * speakers
    texts = []
    for utterance in range(utterances):
        length = int(generator.integers(text_lengths[0], text_lengths[1] + 1))
        drawn = generator.integers(FIRST_WORD, vocabulary, size=length).astype(np.int32)
        texts.append(spoken.of(drawn))
        shape = (condition_rows, condition_width or model_dim)
        _save(
            directory / "features", f"{split}_{utterance:05d}.npy", text_ids=texts[-1][0],
            codes=codes_of(texts[-1][0], codes, codes_per_token),
            condition=generator.standard_normal(shape, dtype=np.float32),
            emo_vec=generator.standard_normal(model_dim, dtype=np.float32),
        )  # fmt: skip
    lines = []
    for pair in range(count):
        target, turn = divmod(pair, pairs_per_target)
        prompt = (target + speakers * (1 + turn)) % utterances
        text, words = texts[target]
        line = _line(split, target, prompt, len(text), codes_per_token, condition_rows, speakers)
        lines.append(line | {"language": spoken.language, "target_text": words})
    return _write_lines(directory / f"{split}_pairs.jsonl", lines)


def _write_lines(manifest: Path, lines: list[dict[str, object]]) -> Path:
    written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    manifest.write_text(written, encoding="utf-8", newline="\n")
    return manifest


def _save(place: Path, name: str, **arrays: np.ndarray[Any, Any]) -> None:
    for kind, array in arrays.items():
        (place / kind).mkdir(parents=True, exist_ok=True)
        np.save(place / kind / name, array)


def _line(
    split: str,
    target: int,
    prompt: int,
    text_tokens: int,
    codes_per_token: int,
    condition_rows: int,
    speakers: int,
) -> dict[str, object]:
    target_id, prompt_id = f"{split}_{target:05d}", f"{split}_{prompt:05d}"
    return {
        "id": f"{target_id}__{prompt_id}",
        "speaker": f"speaker{target % speakers}",
        "prompt_id": prompt_id,
        "prompt_condition_path": f"features/condition/{prompt_id}.npy",
        "prompt_condition_len": condition_rows,
        "prompt_emo_vec_path": f"features/emo_vec/{prompt_id}.npy",
        "prompt_duration": None,
        "target_id": target_id,
        "target_text_ids_path": f"features/text_ids/{target_id}.npy",
        "target_text_len": text_tokens,
        "target_codes_path": f"features/codes/{target_id}.npy",
        "target_code_len": text_tokens * codes_per_token,
        "target_emo_vec_path": f"features/emo_vec/{target_id}.npy",
    }
