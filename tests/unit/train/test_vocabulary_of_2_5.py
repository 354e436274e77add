"""The commands with the vocabulary of IndexTTS-2.5, from texts to an exported folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from support.byte_vocabulary import MERGES, write_vocabulary
from support.tiny_trainer import Ended, TinyTrainer, newest, run_program
from unbroken import legible
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import make_corpus
from unbroken_tts.data.whisper_tokens import VOCABULARY_FILE
from unbroken_tts.export.inference_folder import tokenizer_in

PIECES = 256 + len(MERGES) + 1_673


def refused(ended: Ended, *words: str) -> None:
    assert 2 == ended.code, ended.err
    for word in words:
        assert word in ended.err


@pytest.fixture(scope="module")
def root(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data, with the vocabulary, a configuration and texts beside it."""
    root = tmp_path_factory.mktemp("of-2-5")
    write_vocabulary(root / "mini.tiktoken")
    document = yaml.safe_load((trainer.root / "config.yaml").read_text(encoding="utf-8"))
    document["gpt"] |= {"max_text_tokens": 300, "max_mel_tokens": 200}
    document["dataset"] = {"bpe_model": "bpe.model"}
    (root / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (root / "am.txt").write_text("\n".join(load_sentences("am")[:40]), encoding="utf-8")
    corpus = make_corpus(root / "corpus", "am", load_sentences("am")[:8], ["am", "am+f4"])
    ended = run_program(
        "prepare", corpus.metadata, "--output", root / "data", "--config", root / "config.yaml",
        "--tokenizer", root / "mini.tiktoken", "--language", "am", "--front", "indextts-2.5",
        "--val-ratio", "0.4",
    )  # fmt: skip
    assert 0 == ended.code, ended.err
    assert f"({PIECES} pieces)" in ended.out
    return root


def test_from_prepared_texts_to_a_folder_that_reads_them(root: Path, tmp_path: Path) -> None:
    """A run takes them, its export has the vocabulary under the program's name, all ids agree."""
    data = root / "data"
    ended = TinyTrainer(root).start(
        tmp_path / "run",
        "--train-manifest", data / "train_pairs.jsonl", "--val-manifest", data / "val_pairs.jsonl",
        "--tokenizer", data / "tokenizer.model", "--max-steps", 2, "--batch-size", 1,
        "--grad-accumulation", 1,
    )  # fmt: skip
    assert 0 == ended.code, ended.err
    facts = newest(tmp_path / "run").facts()
    assert "indextts-2.5" == facts["text_rules"]["front"]
    target = tmp_path / "am"
    ended = run_program("export", tmp_path / "run", target)
    assert 0 == ended.code, ended.err
    assert "unbroken_front.py" not in ended.out
    assert (root / "mini.tiktoken").read_bytes() == (target / VOCABULARY_FILE).read_bytes()
    written = yaml.safe_load((target / "config.yaml").read_text(encoding="utf-8"))
    assert (VOCABULARY_FILE, PIECES) == (
        written["dataset"]["bpe_model"],
        written["gpt"]["number_text_tokens"],
    )
    assert facts["tokenizer"] == tokenizer_in(target).digest
    for more in ((), ("--training", data)):
        ended = run_program("front", target, "--texts", root / "am.txt", "--json", *more)
        assert 0 == ended.code, ended.err
        found = json.loads(ended.out)
        assert [("IndexTTS-2.5 as it is", 40)] == [(each, found[each]["equal"]) for each in found]
    ended = run_program("front", target, "--texts", root / "am.txt", "--front", "unbroken")
    refused(ended, "the front end is unbroken")


def test_a_text_is_shown_as_the_model_reads_it(root: Path) -> None:
    """With its language and its pieces; letters that the vocabulary doesn't know as bytes."""
    words = (
        "normalise",
        "ሰላም: ኑ",
        "--front",
        "indextts-2.5",
        "--tokenizer",
        root / "mini.tiktoken",
    )
    ended = run_program(*words)
    assert 0 == ended.code, ended.err
    shown = [
        "<|am|> ሰላም, ኑ",
        "  <|am|> \u2581ሰ ላ <0xE1><0x88> <0x9D> , \u2581 <0xE1> <0x8A> <0x91>",
    ]
    assert [legible(line, "ascii") for line in shown] == ended.out.splitlines()
    refused(run_program(*words, "--language", "gez"), "'gez' has no token")


def test_it_is_judged_and_compared(root: Path, tmp_path: Path) -> None:
    """Tokens a word, unused pieces and worst words as of other kinds; a merge more is an extension of none."""
    told = run_program("tokenizer", "report", root / "mini.tiktoken", root / "am.txt", "--worst", 1)
    assert 0 == told.code, told.err
    assert f"Pieces     {PIECES}: " in told.out
    assert "1673 user-defined" in told.out
    assert "Unknown    0 tokens (0.00 %)" in told.out
    assert 1 == len(told.lines("Worst word"))
    same = run_program("tokenizer", "diff", root / "mini.tiktoken", root / "data/tokenizer.model")
    assert 0 == same.code, same.err
    other = write_vocabulary(tmp_path / "other.tiktoken", (*MERGES, "ሰላ".encode()))
    texts = ("--texts", root / "am.txt")
    ended = run_program("tokenizer", "diff", root / "mini.tiktoken", other, *texts)
    assert 3 == ended.code, ended.err
    assert f"id {256 + len(MERGES)} is 'ሰላ', in the base '<|endoftext|>'" in ended.out


def test_it_is_extended_by_merges_of_a_script(root: Path, tmp_path: Path) -> None:
    """All lines stay, new ones follow; what can't be is one message."""
    grown = tmp_path / "grown.tiktoken"
    extend = ("tokenizer", "extend", root / "mini.tiktoken", root / "am.txt", "--output", grown)
    ended = run_program(*extend, "--vocabulary", PIECES + 50)
    assert 0 == ended.code, ended.err
    assert f"tiktoken, {PIECES + 50} ids, 50 of them new" in ended.out
    assert grown.read_bytes().startswith((root / "mini.tiktoken").read_bytes())
    refused(run_program(*extend, "--vocabulary", PIECES + 50), "--force")
    again = (*extend, "--force", "--vocabulary")
    refused(run_program(*again, PIECES), "room for no merge")
    refused(run_program(*again, 9_000, "--script", "Klingon"), "No letter is of the script")
    refused(run_program(*again, 9_000, "--script", "Thai"), "no pair of bytes of the script Thai")
    refused(run_program(*again, 9_000, "--all-letters"), "spells every letter already")


def test_it_is_neither_trained_nor_made_a_model_of(root: Path, tmp_path: Path) -> None:
    """Whichever way it is asked for: one message with the reason, nothing written."""
    texts, out = root / "am.txt", tmp_path / "out"
    train = ("tokenizer", "train", texts, "--size", 300, "--output", tmp_path / "x.tiktoken")
    refused(run_program(*train), "named like a vocabulary of IndexTTS-2.5")
    prepare = ("prepare", root / "corpus", "--output", out, "--config", root / "config.yaml")
    refused(
        run_program(*prepare, "--extend-tokenizer", root / "mini.tiktoken"),
        "no SentencePiece model",
    )
    assert [] == list(tmp_path.iterdir())
