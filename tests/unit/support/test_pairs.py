from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece

from support.pairs import codes_of, word, write_pairs, write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path


def test_written_pairs_keep_their_promises(tmp_path: Path) -> None:
    """Lengths are the arrays', prompts differ from targets, codes follow from the text."""
    manifest = write_pairs(tmp_path, 11, vocabulary=30, codes=20, model_dim=8, condition_rows=4)
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    assert len({line["id"] for line in lines}) == 11
    for line in lines:
        text = np.load(tmp_path / line["target_text_ids_path"])
        codes = np.load(tmp_path / line["target_codes_path"])
        assert line["prompt_id"] != line["target_id"]
        assert (line["target_text_len"], line["target_code_len"]) == (len(text), len(codes))
        assert codes_of(text, 20, 2).tolist() == codes.tolist()
        assert np.load(tmp_path / line["prompt_condition_path"]).shape == (4, 8)
        assert np.load(tmp_path / line["prompt_emo_vec_path"]).shape == (8,)


def test_the_tokenizer_encodes_the_texts_to_the_stored_ids(tmp_path: Path) -> None:
    """The support tokenizer and the support pairs belong together."""
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(write_tokenizer(tmp_path / "t.model", 40))
    )
    manifest = write_pairs(tmp_path, 3, vocabulary=40)
    assert processor.vocab_size() == 40
    for line in manifest.read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        ids = np.load(tmp_path / pair["target_text_ids_path"]).tolist()
        assert ids == processor.encode(pair["target_text"])
        assert pair["target_text"] == processor.decode(ids)


def test_words_are_distinct() -> None:
    """No two tokens of a vocabulary share a word."""
    assert len({word(token) for token in range(18_000)}) == 18_000
