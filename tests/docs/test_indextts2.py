"""docs/indextts2.md shows the whole way; it is gone here with a miniature of the real folder."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from support.byte_vocabulary import write_vocabulary
from support.indextts25_folder import write_indextts25_folder
from support.indextts_folder import LAYERS, write_indextts_folder
from support.tiny_trainer import asked_to_stop, run_program
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import make_corpus
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.whisper_tokens import VOCABULARY_FILE
from unbroken_tts.prepare.indextts.encoders import open_encoders
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.tokenizers import train_tokenizer

PAGE = (Path(__file__).parents[2] / "docs" / "indextts2.md").read_text(encoding="utf-8")
WAYS = re.findall(r"```console\n(\$ unbroken-tts prepare.*?)```", PAGE, re.DOTALL)
OF_2_0, OF_2_5 = ([each.splitlines() for each in way.split("$ unbroken-tts ")[1:]] for way in WAYS)


def is_shown(line: str, printed: list[str]) -> bool:
    """Whether a line of the page was printed; an ellipsis stands for anything."""
    pattern = ".*".join(map(re.escape, line.split("…")))
    return any(re.fullmatch(pattern, each) for each in printed)


def gone(steps: list[list[str]], stopped: int | None = None) -> list[int]:
    """Run the commands of a way, one of which is stopped; return their codes."""
    codes = []
    for number, (command, *shown) in enumerate(steps):
        with asked_to_stop(3) if number == stopped else nullcontext():
            ended = run_program(*command.split())
        codes.append(ended.code)
        printed = (ended.out + ended.err).splitlines()
        missing = [line for line in shown if not is_shown(line, printed)]
        assert missing == [], f"{command}\n{ended.out}{ended.err}"
    return codes


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with recordings and some other sentences."""
    monkeypatch.chdir(tmp_path)
    # The miniature of the speech model has two layers; everything else is as it is for users.
    monkeypatch.setitem(open_encoders.__kwdefaults__ or {}, "layer", LAYERS)
    make_corpus(tmp_path / "recordings", "am", load_sentences("am")[:24], ["am", "am+f4"])
    texts = "\n".join(load_sentences("am")[24:40])
    (tmp_path / "sentences.txt").write_text(texts, encoding="utf-8")


@pytest.mark.usefixtures("recordings")
def test_the_whole_way(tmp_path: Path) -> None:
    """From recordings to a folder that reads texts as the training did, with a stop in the middle."""
    base = train_tokenizer([normalise(each, "en") for each in load_sentences("en")], 300)
    write_indextts_folder(tmp_path / "checkpoints", base, vocabulary=300)
    assert gone(OF_2_0, stopped=1) == [0, 75, 0, 0, 0]


@pytest.mark.usefixtures("recordings")
def test_the_whole_way_of_2_5(tmp_path: Path) -> None:
    """The same with the files of 2.5: another voice, other codes, another vocabulary."""
    vocabulary = write_vocabulary(tmp_path / VOCABULARY_FILE)
    folder = tmp_path / "checkpoints25"
    write_indextts25_folder(folder, b"", vocabulary=open_tokenizer(vocabulary).vocabulary)
    vocabulary.rename(folder / VOCABULARY_FILE)
    assert gone(OF_2_5) == [0, 0, 0, 0]
