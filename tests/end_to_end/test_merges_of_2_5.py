"""Merges for a script on a model like IndexTTS-2.5: its exported tables have every row where it belongs."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from support.byte_vocabulary import write_vocabulary
from support.pairs import Spoken, write_pairs
from support.tiny_trainer import run_program, write_tiny_trainer
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.whisper_tokens import SPECIAL_TOKENS, VOCABULARY_FILE
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

ADDED = 60
TEXT = "text_embedding.weight"


def test_special_tokens_take_their_rows_along(tmp_path: Path) -> None:
    """From `tokenizer extend` over a training to the folder, whose file and tables agree."""
    trainer = write_tiny_trainer(tmp_path)
    base = open_tokenizer(write_vocabulary(tmp_path / "base.tiktoken"))
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(load_sentences("am")[:80]), encoding="utf-8")
    grown_file = tmp_path / "grown.tiktoken"
    words = ("tokenizer", "extend", base.path, texts, "--vocabulary", base.vocabulary + ADDED)
    ended = run_program(*words, "--output", grown_file)
    assert 0 == ended.code, ended.err
    grown = open_tokenizer(grown_file)
    config = GptConfig.from_yaml(tmp_path / "config.yaml").model_copy(
        update={"spk_cond_mode": "campplus", "language_rows": 107, "speed_rows": False}
    )
    model = VoiceGpt(config, base.vocabulary)
    model.initialise(17)
    write_gpt_pth(tmp_path / "gpt.pth", merge(model, fresh_untrained_encoders(config, 17)))
    manifests = [
        write_pairs(
            tmp_path / "am", count, split=split, vocabulary=250, condition_rows=1,
            condition_width=192, text_lengths=(1, 3),
            spoken=Spoken(language="am", encode=grown.encode, before="<|am|> "),
        )
        for split, count in (("train", 12), ("val", 6))
    ]  # fmt: skip
    flags = (
        "--base-checkpoint", tmp_path / "gpt.pth", "--tokenizer", grown_file,
        "--train-manifest", manifests[0], "--val-manifest", manifests[1], "--max-steps", 1,
        "--learning-rate", "1e-6",
    )  # fmt: skip
    ended = trainer.start(tmp_path / "unknown", *flags)
    assert 2 == ended.code  # by their ids special tokens would get the rows of others
    assert "--base-tokenizer" in ended.err
    ended = trainer.start(tmp_path / "run", *flags, "--base-tokenizer", base.path)
    assert 0 == ended.code, ended.err
    assert f"{base.vocabulary} pieces that the base knows by spelling take its rows" in ended.out
    target = tmp_path / "folder"
    ended = run_program("export", tmp_path / "run", target)
    assert 0 == ended.code, ended.err
    before, after = read_archive(tmp_path / "gpt.pth")[TEXT], read_archive(target / "gpt.pth")[TEXT]
    assert len(before) + ADDED == len(after)
    ranks = base.vocabulary - len(SPECIAL_TOKENS)
    kept = torch.cat([after[:ranks], after[ranks + ADDED : -1]])
    assert torch.allclose(before[:-1], kept, atol=1e-5)
    assert grown_file.read_bytes() == (target / VOCABULARY_FILE).read_bytes()
    document = yaml.safe_load((target / "config.yaml").read_text(encoding="utf-8"))
    assert grown.vocabulary == document["gpt"]["number_text_tokens"]
