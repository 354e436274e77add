from __future__ import annotations

import importlib
import json
import random
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from support.pairs import write_pairs, write_tokenizer
from unbroken.errors import DataInvalid
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.tokenizer_match import check_matches, likeness

if TYPE_CHECKING:
    from pathlib import Path

SENTENCES = [
    "ሰላም ለዓለም ሁሉ ይሁን።",
    "መምህሩ ትናንት ዳቦ ለካ።",
    "እናቴ ዛሬ ጠዋት ቡና ገዛች።",
    "ጎረቤታችን በማለዳ መጽሐፍ ቆጠረ።",
    "ሐኪሙ ሕመምተኛውን በሆስፒታል አየው።",
    "ሠራተኞቹ ሥራቸውን በጊዜ ጨረሱ።",
    "ፀሐይ በምሥራቅ ትወጣለች።",
    "ዓሣ አጥማጁ ኀይለኛ ማዕበል ገጠመው።",
    "THE SMALL BOY REPAIRED A LETTER FROM HOME.",
    "EVERY STUDENT PAINTED A WOODEN DOOR BEFORE SUNRISE.",
]
FOLDED = str.maketrans("ሐሕሓኀሠሥሣዓዕፀ", "ሀህሃሀሰስሳአእጸ")


def bpe_model(path: Path) -> Path:
    """Train a small BPE tokenizer on the folded sentences."""
    stem = path.with_suffix("")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([sentence.translate(FOLDED) for sentence in SENTENCES * 3]),
        model_prefix=str(stem),
        vocab_size=160,
        model_type="bpe",
        bos_id=0,
        eos_id=1,
        unk_id=2,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    return stem.with_suffix(".model")


def permuted(path: Path, first: int, *, is_whole: bool) -> Path:
    """Write a copy whose pieces from `first` on are permuted, with or without their scores."""
    proto: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    model = proto.ModelProto.FromString(path.read_bytes())
    taken = [(piece.piece, piece.score) for piece in model.pieces[first:]]
    random.Random(1).shuffle(taken)  # noqa: S311 - no secret
    for piece, (text, score) in zip(model.pieces[first:], taken, strict=True):
        piece.piece = text
        if is_whole:
            piece.score = score
    copy = path.with_name("permuted.model")
    copy.write_bytes(model.SerializeToString())
    return copy


def stored(directory: Path, tokenizer: Tokenizer, texts: list[tuple[str, str]]) -> str:
    """Write a manifest of (stored text, encoded text); only its texts are of use."""
    lines = []
    for number, (text, encoded) in enumerate(texts):
        ids = np.array(tokenizer.encode(encoded), dtype=np.int32)
        np.save(directory / f"{number}.npy", ids)
        line = {
            "id": str(number),
            "target_text": text,
            "target_text_ids_path": f"{number}.npy",
            "target_text_len": len(ids),
            "target_codes_path": "-",
            "target_code_len": 1,
            "prompt_condition_path": "-",
            "prompt_emo_vec_path": "-",
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    manifest = directory / "pairs.jsonl"
    manifest.write_text("".join(lines), encoding="utf-8", newline="\n")
    return str(manifest)


def test_a_tokenizer_is_read(tmp_path: Path) -> None:
    """Vocabulary, pieces, encoding and decoding are the model's."""
    tokenizer = open_tokenizer(write_tokenizer(tmp_path / "x.model", 40))
    assert 40 == tokenizer.vocabulary == len(tokenizer.pieces)
    assert ("<s>", "</s>", "<unk>") == tokenizer.pieces[:3]
    assert [3, 39, 2] == tokenizer.encode(
        " ".join([tokenizer.pieces[3][1:], tokenizer.pieces[39][1:], "unheard-of"])
    )
    assert tokenizer.pieces[7][1:] == tokenizer.decode([7])


def test_the_digest_follows_content_never_the_path(tmp_path: Path) -> None:
    """A copy has the same digest; other pieces, kinds or scores have another."""
    original = write_tokenizer(tmp_path / "x.model", 40)
    shutil.copy(original, tmp_path / "y.model")
    digest = open_tokenizer(original).digest
    assert digest == open_tokenizer(tmp_path / "y.model").digest
    assert "c0594fefe3064724f74d78388d4f59c3" == digest
    others = {open_tokenizer(write_tokenizer(tmp_path / "z.model", 41)).digest}
    proto: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    for change in ({"piece": "\u2581other"}, {"score": -0.5}, {"type": 5}):
        model = proto.ModelProto.FromString(original.read_bytes())
        for name, value in change.items():
            setattr(model.pieces[9], name, value)
        (tmp_path / "z.model").write_bytes(model.SerializeToString())
        others.add(open_tokenizer(tmp_path / "z.model").digest)
    assert 5 == len(others | {digest})


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\x80\x04\x95", b"PK\x03\x04"])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or foreign file is an error that names it."""
    path = tmp_path / "x.model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataInvalid, match=r"x\.model"):
        open_tokenizer(path)
    with pytest.raises(DataInvalid):
        open_tokenizer(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_tokenizer_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any cut or flipped byte gives a tokenizer or an error of ours."""
    directory = tmp_path_factory.mktemp("damaged")
    content = bytearray(write_tokenizer(directory / "x.model", 20).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] = data.draw(st.integers(0, 255))
    else:
        del content[at:]
    (directory / "x.model").write_bytes(content)
    with suppress(DataInvalid):
        assert open_tokenizer(directory / "x.model").vocabulary > 0


def test_the_right_tokenizer_matches(tmp_path: Path) -> None:
    """Texts stored as they were encoded agree, all of them."""
    tokenizer = open_tokenizer(write_tokenizer(tmp_path / "x.model", 40))
    pairs = load_pairs([str(write_pairs(tmp_path, 30))])
    match = check_matches(pairs, tokenizer)
    assert (15, 15, 15) == (match.compared, match.agreeing, match.reproduced)


def test_texts_stored_before_normalisation_match(tmp_path: Path) -> None:
    """Homophones not yet folded, lower case and lost punctuation are no other tokenizer."""
    tokenizer = open_tokenizer(bpe_model(tmp_path / "x.model"))
    texts = [
        (sentence.lower().replace("።", " ::"), sentence.translate(FOLDED)) for sentence in SENTENCES
    ]
    match = check_matches(load_pairs([stored(tmp_path, tokenizer, texts)]), tokenizer)
    assert 10 == match.compared
    assert (10, 10) == (match.agreeing, match.reproduced)


def test_transliterated_texts_match_by_reproduction(tmp_path: Path) -> None:
    """Stored texts in another script don't speak against a tokenizer that reproduces the ids."""
    tokenizer = open_tokenizer(bpe_model(tmp_path / "x.model"))
    texts = [(f"selam {number}", text.translate(FOLDED)) for number, text in enumerate(SENTENCES)]
    match = check_matches(load_pairs([stored(tmp_path, tokenizer, texts)]), tokenizer)
    assert (10, 0, 10) == (match.compared, match.agreeing, match.reproduced)


@pytest.mark.parametrize("is_whole", [False, True], ids=["pieces", "pieces and scores"])
def test_a_permuted_tokenizer_is_refused(tmp_path: Path, *, is_whole: bool) -> None:
    """With all pieces permuted every id is valid and means something else: refused."""
    model = bpe_model(tmp_path / "x.model")
    tokenizer = open_tokenizer(model)
    texts = [(sentence, sentence.translate(FOLDED)) for sentence in SENTENCES]
    pairs = load_pairs([stored(tmp_path, tokenizer, texts)])
    other = open_tokenizer(permuted(model, 3, is_whole=is_whole))
    assert tokenizer.vocabulary == other.vocabulary
    with pytest.raises(DataInvalid, match="doesn't belong to these manifests"):
        check_matches(pairs, other)


def test_without_texts_nothing_is_concluded(tmp_path: Path) -> None:
    """Few or no stored texts, or ids that say nothing, are no reason to stop."""
    tokenizer = open_tokenizer(write_tokenizer(tmp_path / "x.model", 40))
    other = open_tokenizer(permuted(tmp_path / "x.model", 3, is_whole=False))
    unknown = [("qwrtp", "qwrtp")] * 9
    pairs = load_pairs([stored(tmp_path, tokenizer, unknown)])
    assert 0 == check_matches(pairs, other).compared
    few = [(tokenizer.decode([token]), tokenizer.decode([token])) for token in (5, 6, 7)]
    assert 3 == check_matches(load_pairs([stored(tmp_path, tokenizer, few)]), other).compared
    (tmp_path / "0.npy").unlink()
    assert 2 == check_matches(load_pairs([str(tmp_path / "pairs.jsonl")]), other).compared


def test_likeness_counts_letters_alone() -> None:
    """Case, blanks and punctuation don't count; other letters do."""
    assert 1.0 == likeness("Hello, world!", "HELLO  WORLD")
    assert 1.0 == likeness("", " .")
    assert 0.0 == likeness("abc", "xyz")
    assert 0.7 <= likeness("ፀሐይ በምሥራቅ ትወጣለች።", "ጸሐይ በምስራቅ ትወጣለች") < 1.0
