"""docs/indextts2.md shows the whole way; it is gone here with a miniature of the real folder."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from support.indextts_folder import LAYERS, write_indextts_folder
from support.tiny_trainer import asked_to_stop, run_program
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import make_corpus
from unbroken_tts.prepare.indextts.encoders import open_encoders
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.tokenizers import train_tokenizer

PAGE = (Path(__file__).parents[2] / "docs" / "indextts2.md").read_text(encoding="utf-8")
(WAY,) = re.findall(r"```console\n(\$ unbroken-tts prepare.*?)```", PAGE, re.DOTALL)
STEPS = [each.splitlines() for each in WAY.split("$ unbroken-tts ")[1:]]


def is_shown(line: str, printed: list[str]) -> bool:
    """Whether a line of the page was printed; an ellipsis stands for anything."""
    pattern = ".*".join(map(re.escape, line.split("…")))
    return any(re.fullmatch(pattern, each) for each in printed)


def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From recordings to a folder that reads texts as the training did, with a stop in the middle."""
    monkeypatch.chdir(tmp_path)
    # The miniature of the speech model has two layers; everything else is as it is for users.
    monkeypatch.setitem(open_encoders.__kwdefaults__ or {}, "layer", LAYERS)
    base = train_tokenizer([normalise(each, "en") for each in load_sentences("en")], 300)
    write_indextts_folder(tmp_path / "checkpoints", base, vocabulary=300)
    make_corpus(tmp_path / "recordings", "am", load_sentences("am")[:24], ["am", "am+f4"])
    texts = "\n".join(load_sentences("am")[24:40])
    (tmp_path / "sentences.txt").write_text(texts, encoding="utf-8")
    codes = []
    for number, (command, *shown) in enumerate(STEPS):
        with asked_to_stop(3) if number == 1 else nullcontext():
            ended = run_program(*command.split())
        codes.append(ended.code)
        printed = (ended.out + ended.err).splitlines()
        missing = [line for line in shown if not is_shown(line, printed)]
        assert missing == [], f"{command}\n{ended.out}{ended.err}"
    assert codes == [0, 75, 0, 0, 0]
