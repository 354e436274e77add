"""The text front end that an export carries: one file, nothing but Python, and the training's rules."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.export.front_file import NAME, front_file
from unbroken_tts.prepare.fronts import TextRules
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.tokenizers import train_tokenizer

# What a program of IndexTTS2 has in indextts/utils/front.py, as far as the file touches it: a
# normaliser and a tokenizer that is asked for pieces, whose ids are looked up one by one.
PROGRAM = """\
import sentencepiece

class TextNormalizer:
    def load(self):
        pass

    def normalize(self, text):
        return "changed " + text

class TextTokenizer:
    def __init__(self, vocab_file, normalizer=None):
        self.normalizer = normalizer
        self.sp_model = sentencepiece.SentencePieceProcessor(model_file=vocab_file)

    def convert_tokens_to_ids(self, tokens):
        return [self.sp_model.PieceToId(token) for token in tokens]

    def tokenize(self, text):
        return self.encode(text, out_type=str)

    def encode(self, text, **kwargs):
        return self.sp_model.Encode(self.normalizer.normalize(text), **kwargs)

    def batch_encode(self, texts, **kwargs):
        return [self.encode(text, **kwargs) for text in texts]
"""
WEBUI = """\
import json, sys
from indextts.utils.front import TextNormalizer, TextTokenizer

normalizer = TextNormalizer()
tokenizer = TextTokenizer(sys.argv[2], normalizer)
every = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) for text in json.load(sys.stdin)]
print(json.dumps([__name__, every, normalizer.normalize("ሠላም።")]))
"""


def loaded(*languages: str) -> types.ModuleType:
    """Return the file as a module of its own."""
    module = types.ModuleType("front")
    exec(front_file(TextRules.named("unbroken", languages)), module.__dict__)  # noqa: S102 - ours
    return module


@pytest.fixture(scope="module")
def front() -> types.ModuleType:
    """The file of a training on Amharic."""
    return loaded("am")


def test_it_needs_the_standard_library_only() -> None:
    """Every import of the file comes with Python."""
    tree = ast.parse(front_file(TextRules.named("unbroken", ["am"])))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        + [each.name for each in node.names if isinstance(node, ast.Import)]
    }
    assert names <= sys.stdlib_module_names


def test_no_name_of_one_module_hides_that_of_another() -> None:
    """The modules stand in one file, so each top-level name is there once."""
    tree = ast.parse(front_file(TextRules.named("unbroken", ["am"])))
    names = [
        each.id
        for node in tree.body
        for target in (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        for each in ast.walk(target)
        if isinstance(each, ast.Name)
    ] + [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(names) == len(set(names))


def test_it_says_what_the_training_said(front: types.ModuleType) -> None:
    """All sentences of the corpora come out as `prepare` normalises them."""
    for text in load_sentences("am"):
        assert normalise(text, "am") == front.spoken_form(text)
    english = loaded("en-us")
    for text in load_sentences("en"):
        assert normalise(text, "en") == english.spoken_form(text)


@given(st.text(max_size=60) | st.text("ሀሐሠዓም።፣፤፡፩፪፻0123456789.,:/%- aB", max_size=40))
@settings(deadline=None, max_examples=300)
def test_it_says_what_the_training_said_of_any_text(text: str) -> None:
    """No text whatever is read otherwise than in the training."""
    assert normalise(text, "am") == LOADED.spoken_form(text)


LOADED: Any = loaded("am")


def test_several_languages_are_told_apart_by_their_letters() -> None:
    """Text with Ethiopic letters is Amharic; other text is the first other language."""
    both = loaded("am", "en")
    assert normalise("በ2017", "am") == both.spoken_form("በ2017")
    assert normalise("in 2017", "en") == both.spoken_form("in 2017")
    assert normalise("2017", "am") == loaded("am").spoken_form("2017")


def test_a_program_started_through_it_gets_the_ids_of_the_training(tmp_path: Path) -> None:
    """`python unbroken_front.py webui.py …` changes no file of the program, and every id agrees."""
    texts = [*load_sentences("am")[:40], "በ2017 ዓ.ም. 50% ነው፡፡", "?", "", "«ሠላም»; NASA"]
    model = train_tokenizer([normalise(each, "am") for each in texts], 300)
    (tmp_path / "am").mkdir()
    (tmp_path / "am/bpe.model").write_bytes(model)
    rules = TextRules.named("unbroken", ["am"])
    (tmp_path / "am" / NAME).write_text(front_file(rules), encoding="utf-8")
    package = tmp_path / "program/indextts/utils"
    package.mkdir(parents=True)
    (package / "front.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "program/webui.py").write_text(WEBUI, encoding="utf-8")
    words = [tmp_path / "am" / NAME, tmp_path / "program/webui.py", "--model", "am/bpe.model"]
    ended = subprocess.run(
        [sys.executable, *map(str, words)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        timeout=60,
        encoding="utf-8",
    )
    name, found, shown = json.loads(ended.stdout)
    import sentencepiece

    encoder = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert "__main__" == name
    assert [encoder.encode(normalise(text, "am")) for text in texts] == found
    assert normalise("ሠላም።", "am") == shown


def test_it_shows_what_a_model_reads(tmp_path: Path) -> None:
    """Given a text instead of a program, it prints the normalised form."""
    path = tmp_path / NAME
    path.write_text(front_file(TextRules.named("unbroken", ["am"])), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", str(path), "በ2017"],
        capture_output=True,
        check=True,
        timeout=60,
        encoding="utf-8",
    )
    assert f"{normalise('በ2017', 'am')}\n" == ended.stdout
