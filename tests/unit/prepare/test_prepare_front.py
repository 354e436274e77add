"""`prepare --front`: the text ids are those that the chosen front end gives to the tokenizer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from support.prepared import lines
from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.prepare.fronts import TextRules, front_end, rules_of_data
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import DESCRIPTION, PreparePlan
from unbroken_tts.prepare.sources import read_source


def test_ids_are_those_of_the_front_end(corpus: Corpus, plan: PreparePlan, tmp_path: Path) -> None:
    """Each text is encoded as the Amharic fork would; the rules are named beside the data."""
    output = tmp_path / "out"
    prepare(corpus.metadata, output, dataclasses.replace(plan, front="indextts-am"))
    tokenizer = open_tokenizer(output / "tokenizer.model")
    typed = {each.id: each.text for each in read_source(corpus.metadata, language="am").utterances}
    rows = [*lines(output / "train.jsonl"), *lines(output / "val.jsonl")]
    assert typed.keys() == {row["id"] for row in rows}
    for row in rows:
        expected = tokenizer.encode(front_end(typed[row["id"]], "am", "indextts-am"))
        assert expected == np.load(output / row["text_ids_path"]).tolist()
    expected_rules = TextRules(front="indextts-am", scheme=1, languages=("am",))
    assert expected_rules == rules_of_data(output, ["am"])
    with pytest.raises(SettingsInvalid, match="front was 'indextts-am', now 'unbroken'"):
        prepare(corpus.metadata, output, plan)


def test_data_of_before_there_were_several_goes_on(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """A prepare.json without a front end is that of this project's rules, and is accepted."""
    output = tmp_path / "out"
    prepare(corpus.metadata, output, plan)
    place = output / DESCRIPTION
    record = json.loads(place.read_text(encoding="utf-8"))
    del record["front"]
    place.write_text(json.dumps(record), encoding="utf-8")
    prepare(corpus.metadata, output, plan)
    with pytest.raises(SettingsInvalid, match="front was"):
        prepare(corpus.metadata, output, dataclasses.replace(plan, front="indextts"))


def test_texts_that_cannot_be_followed_are_listed(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """A text that the program would read otherwise is a fault of its line, and nothing is made."""
    rows = lines_with(corpus, "በ10:30 ሰዓት")
    source = tmp_path / "odd.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    chosen = dataclasses.replace(plan, front="indextts")
    with pytest.raises(DataInvalid, match="digits or signs, which it reads as Chinese words"):
        prepare(source, tmp_path / "out", chosen)
    assert not (tmp_path / "out").exists()


def lines_with(corpus: Corpus, text: str) -> list[dict[str, str]]:
    """Return the corpus as a list whose first text is another one."""
    utterances = read_source(corpus.metadata, language="am").utterances
    return [
        {
            "id": each.id,
            "audio": str(each.audio),
            "text": text if number == 0 else each.text,
            "speaker": each.speaker,
            "language": "am",
        }
        for number, each in enumerate(utterances)
    ]
