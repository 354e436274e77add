"""Texts for IndexTTS-2.5: what its program gives to its tokenizer, from the front end to the data set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.byte_vocabulary import MERGES, write_vocabulary
from support.prepared import lines
from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.open_tokenizer import open_tokenizer, places_by
from unbroken_tts.data.tokenizer_match import check_matches
from unbroken_tts.data.whisper_tokens import LANGUAGES, VOCABULARY_FILE
from unbroken_tts.prepare.fronts import TextRules, front_end, rules_of_data
from unbroken_tts.prepare.indextts25_front import follow_indextts25, without_token
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan
from unbroken_tts.prepare.retokenize import retokenize
from unbroken_tts.prepare.sources import read_source
from unbroken_tts.speak.speech import line_of


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("ሰላም ለዓለም።", "am", "<|am|> ሰላም ለዓለም።"),
        ("«ሰላም»: ኑ; (እሺ)…", "am", "<|am|> «ሰላም», ኑ, 'እሺ'…"),
        ("ኑ...\nእሺ", "AM", "<|am|> ኑ… እሺ"),
        ("በ2017 ዓ.ም.", "am", "<|am|> በ2017 ዓ.ም."),
        ("Straße", "de", "<|de|> Straße"),
        (
            "<ሰላም|s ə1 . l>!",
            "am",
            "<|am|> <|SPECIAL_TOKEN_1|>S Ə1 . L<|SPECIAL_TOKEN_1|>!",
        ),
        ("<行|xing2>", "am", "<|am|> <|SPECIAL_TOKEN_2|>XING2<|SPECIAL_TOKEN_2|>"),
        ("<ቃል|カナ>", "am", "<|am|>  カナ "),
        ("<|happy|> ሰላም", "am", "<|am|> <|HAPPY|> ሰላም"),
        ("ሰላም", "zh", "<|zh|> ሰላም"),
        (" \n", "am", ""),
    ],
)
def test_the_rules_are_those_of_the_program(text: str, language: str, expected: str) -> None:
    """Marks are mapped, letters stay, pronunciations get their tokens, the language comes first."""
    assert expected == front_end(text, language, "indextts-2.5")


@pytest.mark.parametrize(
    ("text", "language", "told"),
    [
        ("ሰላም", "gez", "'gez' has no token"),
        ("ሰላም", "en-us", "'en-us' has no token"),
        ("ሰላም", "yue", "'yue' has no token"),
        ("Hola", "es", "NeMo"),
        ("今日", "ja", "kana"),
        ("你好", "zh", "East Asian characters"),
        ("<going|G OW1> home", "en", "annotation"),
    ],
)
def test_what_it_would_read_otherwise_is_refused(text: str, language: str, told: str) -> None:
    """A language without a token, and texts that only the program's own normalisers can read."""
    with pytest.raises(DataInvalid, match=told):
        follow_indextts25(text, language)


@given(text=st.text(), language=st.sampled_from(["am", "ti", "sw", "fr"]))
def test_any_text_of_other_languages_is_followed(text: str, language: str) -> None:
    """It begins with its language, and nothing is mapped that has been mapped."""
    if language not in LANGUAGES:
        with pytest.raises(DataInvalid, match="no token"):
            follow_indextts25(text, language)
        return
    found = follow_indextts25(text, language)
    assert found == "" if not text.strip() else found.startswith(f"<|{language}|> ")
    assert not set(without_token(found)) & set('：；;:"()[]~\n')


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature vocabulary of 2.5 whose name tells nothing."""
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary") / "some.file")


@pytest.fixture
def plan_25(plan: PreparePlan, vocabulary: Path) -> PreparePlan:
    """Use the vocabulary of 2.5, with room for its longer texts."""
    return dataclasses.replace(
        plan,
        tokenizer=TokenizerPlan(kind="existing", path=vocabulary),
        front="indextts-2.5",
        config=plan.config.model_copy(update={"max_text_tokens": 600}),
    )


def test_ids_are_those_of_the_program(
    corpus: Corpus, plan_25: PreparePlan, vocabulary: Path, tmp_path: Path
) -> None:
    """Each text is the language's token and the ids of the mapped text; data and tokenizer agree."""
    output = tmp_path / "out"
    summary = prepare(corpus.metadata, output, plan_25)
    assert 256 + len(MERGES) + 1_673 == summary.vocabulary
    assert "Unknown    0 of" in summary.text()
    tokenizer = open_tokenizer(output / "tokenizer.model")
    assert open_tokenizer(vocabulary).digest == tokenizer.digest
    typed = {each.id: each.text for each in read_source(corpus.metadata, language="am").utterances}
    rows = [*lines(output / "train.jsonl"), *lines(output / "val.jsonl")]
    for row in rows:
        ids = np.load(output / row["text_ids_path"]).tolist()
        assert tokenizer.encode(front_end(typed[row["id"]], "am", "indextts-2.5")) == ids
        assert "am" == tokenizer.languages[ids[0] - tokenizer.first_language_id]
    rules = TextRules(front="indextts-2.5", scheme=1, languages=("am",))
    assert rules == rules_of_data(output, ["am"])
    pairs = load_pairs((str(output / "train_pairs.jsonl"),))
    assert check_matches(pairs, tokenizer).reproduced == min(64, len({*pairs.text_paths}))

    again = retokenize(output, vocabulary, tmp_path / "again")
    assert (again.vocabulary, again.vocabulary) == (again.kept, again.former)
    row = rows[0]
    before = np.load(output / row["text_ids_path"]).tolist()
    assert before == np.load(tmp_path / "again" / row["text_ids_path"]).tolist()


@pytest.mark.parametrize(
    ("front", "kind", "told"),
    [
        ("unbroken", "existing", "is of IndexTTS-2.5, and the front end is unbroken"),
        ("indextts-am", "existing", "is of IndexTTS-2.5, and the front end is indextts-am"),
        ("indextts-2.5", "train", "the tokenizer is to be made"),
        ("indextts-2.5", "extend", "the tokenizer is to be made"),
    ],
)
def test_front_end_and_vocabulary_belong_together(
    corpus: Corpus,
    plan_25: PreparePlan,
    vocabulary: Path,
    tmp_path: Path,
    front: str,
    kind: str,
    told: str,
) -> None:
    """Neither makes sense with another; nothing is written."""
    chosen = TokenizerPlan(kind=kind, path=None if kind == "train" else vocabulary, size=300)  # type: ignore[arg-type]
    wrong = dataclasses.replace(plan_25, front=front, tokenizer=chosen)
    with pytest.raises(SettingsInvalid, match=told):
        prepare(corpus.metadata, tmp_path / "out", wrong)
    assert not (tmp_path / "out").exists()


def test_neither_is_it_extended_nor_used_for_other_data(
    corpus: Corpus,
    plan: PreparePlan,
    plan_25: PreparePlan,
    vocabulary: Path,
    base_model: bytes,
    tmp_path: Path,
) -> None:
    """The reason is named: it has no pieces, and other data has no tokens of languages."""
    extend = TokenizerPlan(kind="extend", path=vocabulary, size=3_000)
    with pytest.raises(DataInvalid, match="no SentencePiece model"):
        prepare(corpus.metadata, tmp_path / "a", dataclasses.replace(plan, tokenizer=extend))
    base = tmp_path / "base.model"
    base.write_bytes(base_model)
    other = TokenizerPlan(kind="existing", path=base)
    with pytest.raises(SettingsInvalid, match="is a SentencePiece model"):
        prepare(corpus.metadata, tmp_path / "b", dataclasses.replace(plan_25, tokenizer=other))
    prepare(corpus.metadata, tmp_path / "c", dataclasses.replace(plan, tokenizer=other))
    with pytest.raises(SettingsInvalid, match=r"is of IndexTTS-2.5, and the front end is unbroken"):
        retokenize(tmp_path / "c", vocabulary, tmp_path / "d")


def test_a_line_is_spoken_by_the_same_rules(vocabulary: Path) -> None:
    """`say` encodes as the program does; the language's token alone is nothing to speak."""
    tokenizer = open_tokenizer(vocabulary)
    line = line_of("ሰላም!", "am", tokenizer, 600, "indextts-2.5")
    assert "<|am|> ሰላም!" == line.text
    assert ("", tokenizer.encode("<|am|> ሰላም!")) == (line.unknown, line.ids)
    with pytest.raises(DataInvalid, match="no letter"):
        line_of("...", "am", tokenizer, 600, "indextts-2.5")


def test_the_vocabulary_is_found_beside_its_configuration(tmp_path: Path) -> None:
    """Under the name that the program knows, even where config.yaml names that of 2.0."""
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"dataset": {"bpe_model": "bpe.model"}}), "utf-8")
    assert [tmp_path / "bpe.model"] == places_by(config)
    write_vocabulary(tmp_path / VOCABULARY_FILE)
    assert [tmp_path / "bpe.model", tmp_path / VOCABULARY_FILE] == places_by(config)
    assert [tmp_path / VOCABULARY_FILE] == places_by(tmp_path / "missing.yaml")
