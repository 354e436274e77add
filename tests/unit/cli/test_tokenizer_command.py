"""`unbroken-tts tokenizer`: from texts to a tokenizer, and what it does with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.tiny_trainer import Ended, run_program
from support.tokenizer_files import write_pieces
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.prepare.tokenizers import kind_of, processor


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of two languages, and a base of each kind trained by the command."""
    root = tmp_path_factory.mktemp("tokenizers")
    (root / "en.txt").write_text("\n".join(load_sentences("en")), "utf-8")
    (root / "am.txt").write_text("\n".join(load_sentences("am")[:200]), "utf-8")
    for kind in ("bpe", "unigram"):
        words = ("train", root / "en.txt", "--language", "en", "--size", 300, "--kind", kind)
        assert ran(*words, "--output", root / f"{kind}.model").code == 0
    return root


def ran(*words: object) -> Ended:
    """Run one action."""
    return run_program("tokenizer", *words)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_from_texts_to_an_extension_that_says_what_it_does(
    root: Path, tmp_path: Path, kind: str
) -> None:
    """Trained, extended, judged and compared, without a recording."""
    base, grown = root / f"{kind}.model", tmp_path / "new" / "grown.model"
    size = processor(base.read_bytes()).GetPieceSize()
    ended = ran("extend", base, root / "am.txt", "--vocabulary", size + 300, "--output", grown)
    assert ended.code == 0, ended.err
    assert f"{kind}, {size + 300} pieces, 300 of them new, 0 never used" in ended.out
    assert "old ids  unchanged; 255 texts in the old language verified" in ended.out
    assert kind == kind_of(grown.read_bytes())
    told = ran("report", grown, root / "am.txt", "--base", base, "--worst", 2)
    assert told.code == 0, told.err
    assert "Appended   300 pieces, 0 never used" in told.out
    assert 2 == len(told.lines("Worst word"))
    compared = ran("diff", base, grown, "--texts", root / "en.txt", "--language", "en")
    assert compared.code == 0, compared.err
    assert "B extends A: yes, by 300 pieces" in compared.out
    assert "255 compared, 0 are cut otherwise" in compared.out


def test_a_report_names_what_is_unknown_and_what_is_dead(tmp_path: Path) -> None:
    """By character with its count, by script, and as JSON."""
    model = write_pieces(
        tmp_path / "a.model",
        ["\u2581", "ሰ", "ላ", "ሰላ", "ም", "\u2581ሰላም", ("你", "USER_DEFINED"), "NI", "።"],
    )
    (tmp_path / "texts.txt").write_text("ሰላም; ሰላም።\n\nሰላ ላ\n", "utf-8")
    words = ("report", model, tmp_path / "texts.txt", "--language", "none")
    found = json.loads(ran(*words, "--json").out)
    assert {"kind": "unigram", "size": 12, "texts": 2, "words": 4} == {
        name: found[name] for name in ("kind", "size", "texts", "words")
    }
    assert {"normal": 8, "control": 2, "unknown": 1, "user-defined": 1} == found["kinds"]
    assert {";": 1} == found["unknown_characters"]
    assert (1, 1) == (found["unknown"], found["texts_with_unknown"])
    assert ["ሰ", "ም"] == found["dead"]
    of = {each["script"]: each for each in found["scripts"]}
    assert "Ethiopic" == found["scripts"][0]["script"]
    assert (5, 2, 9) == tuple(of["Ethiopic"][each] for each in ("pieces", "dead", "characters"))
    assert (1, 1, 0) == tuple(of["Han"][each] for each in ("pieces", "dead", "characters"))
    assert found["tokens"] == 8
    assert 2.0 == found["tokens_per_word"]
    assert "by character: ; 1" in ran(*words).out
    assert "Never used ሰ ም" in ran(*words).out


def test_a_report_needs_no_texts(root: Path) -> None:
    """What it is stands in the file."""
    ended = ran("report", root / "bpe.model")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("Kind       bpe, normaliser identity")
    assert "Tokens" not in ended.out


def test_a_list_of_recordings_gives_its_texts(root: Path, tmp_path: Path) -> None:
    """As `prepare` reads it, each line in its language; the recordings need not be there."""
    (tmp_path / "metadata.csv").write_text("a|Five cats\nb|ሰላም 5\n", "utf-8")
    ended = ran("report", root / "bpe.model", tmp_path / "metadata.csv", "--language", "en")
    assert "Texts      2, 4 words" in ended.out
    (tmp_path / "bad.jsonl").write_text('{"id": "a"}\n', "utf-8")
    ended = ran("report", root / "bpe.model", tmp_path / "bad.jsonl")
    assert ended.code == 2
    assert "bad.jsonl:1" in ended.err


def test_diff_says_what_is_no_extension(root: Path, tmp_path: Path) -> None:
    """With the first difference and the texts that are cut otherwise; exit code 3."""
    a = write_pieces(tmp_path / "a.model", ["\u2581", "A", "B", "AB"])
    b = write_pieces(tmp_path / "b.model", ["\u2581", "B", "A", "C"])
    (tmp_path / "t.txt").write_text("AB\nB\n", "utf-8")
    words = ("diff", a, b, "--texts", tmp_path / "t.txt", "--language", "none")
    ended = ran(*words)
    assert ended.code == 3
    assert "B extends A: no: id 4 is 'B', in the base 'A'" in ended.out
    assert "Only in A  1: AB" in ended.out
    assert "2 compared, 2 are cut otherwise" in ended.out
    found = json.loads(ran(*words, "--json").out)
    assert (4, 3, False) == (found["same"], found["changed_ids"], found["is_extension"])
    assert 0 == ran("diff", a, a).code


def test_diff_finds_another_score(tmp_path: Path) -> None:
    """The same pieces with other scores may cut a text otherwise, so B is no extension."""
    a = write_pieces(tmp_path / "a.model", ["\u2581", "A", "B"])
    content = bytearray(a.read_bytes())
    at = content.index(b"B") + 2
    content[at] ^= 1
    (tmp_path / "b.model").write_bytes(content)
    ended = ran("diff", a, tmp_path / "b.model")
    assert ended.code == 3
    assert "1 scores differ" in ended.out


def test_nothing_is_overwritten_without_force(root: Path, tmp_path: Path) -> None:
    """And what is there stays as it is."""
    (tmp_path / "x.model").write_bytes(b"mine")
    words = ("train", root / "en.txt", "--size", 300, "--output", tmp_path / "x.model")
    ended = ran(*words)
    assert ended.code == 2
    assert "--force" in ended.err
    assert b"mine" == (tmp_path / "x.model").read_bytes()
    assert ran(*words, "--force", "--language", "en").code == 0
    assert "bpe" == kind_of((tmp_path / "x.model").read_bytes())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["report", "en.txt"], "is not a SentencePiece model"),
        (["report", "bpe.model", "missing.txt"], "missing.txt can't be read"),
        (["report", "bpe.model", "bpe.model"], "can't be read"),
        (["report", "bpe.model", "empty.txt"], "There is no text in"),
        (["extend", "bpe.model", "en.txt", "--output", "o.model"], "no letter of the script"),
        (
            ["extend", "bpe.model", "am.txt", "--output", "o", "--vocabulary", "301"],
            "room for 1 new",
        ),
        (["extend", "bpe.model", "am.txt", "--output", "o", "--vocabulary", "-5"], "room for -"),
        (["train", "en.txt", "--size", "0", "--output", "o.model"], "have 0 pieces"),
        (["train", "en.txt", "--size", "9", "--output", "o", "--kind", "word"], "invalid choice"),
        (["diff", "bpe.model", "missing.model"], "missing.model can't be read"),
        ([], "ACTION"),
    ],
)
def test_bad_input_is_exit_code_2(
    root: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    """One message, nothing written."""
    monkeypatch.chdir(root)
    (root / "empty.txt").write_text("\n \n", "utf-8")
    before = sorted(root.iterdir())
    ended = ran(*words)
    assert ended.code == 2
    assert told in ended.err
    assert before == sorted(root.iterdir())
