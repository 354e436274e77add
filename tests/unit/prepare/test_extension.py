"""An extension: every new piece is used, and old texts are cut as before."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from support.pairs import write_tokenizer
from unbroken.errors import SettingsInvalid
from unbroken_tts.prepare.extension import Extension, extend
from unbroken_tts.prepare.letters import is_of_script
from unbroken_tts.prepare.piece_scores import TEMPER, PieceScores
from unbroken_tts.prepare.tokenizers import parsed, processor
from unbroken_tts.prepare.unchanged_ids import prove_unchanged


@pytest.fixture(scope="module")
def unigram(english: list[str]) -> bytes:
    """A unigram base made like the real one: NFKC, capitals, ideographs and pinyin user-defined."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text for text in english if not set(text) & set(":;()")),
        model_writer=written,
        model_type="unigram",
        vocab_size=310,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        user_defined_symbols=[
            "\u2581[ZH]",
            "\u2581[EN]",
            *"你好世界今天气",
            "NI3",
            "HAO3",
            "TIAN1",
        ],
        bos_id=0,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


@pytest.fixture(scope="module")
def bases(base_model: bytes, unigram: bytes) -> dict[str, bytes]:
    """The two kinds of base."""
    return {"bpe": base_model, "unigram": unigram}


@pytest.fixture(scope="module")
def grown(bases: dict[str, bytes], amharic: list[str]) -> dict[str, Extension]:
    """The bases, extended by 400 pieces."""
    plain = [text for text in amharic if not set(text) & set(';:"()')]
    return {kind: extend(base, plain, size_of(base) + 400) for kind, base in bases.items()}


@pytest.fixture(scope="module")
def marked(unigram: bytes) -> Extension:
    """The unigram base, extended for texts with marks that it lacks."""
    texts = ["ሰላም; (ሰላም)።", "አለም: 5%; [አ]", "ሰላም። አለም።"]
    return extend(unigram, texts, size_of(unigram) + 40, base_texts=["A; B", "A, B"])


def size_of(model: bytes) -> int:
    """Return the number of pieces."""
    return int(processor(model).GetPieceSize())


def dead_pieces(base: bytes, model: bytes, texts: list[str]) -> list[str]:
    """Return the appended pieces that no text is cut into."""
    encoder = processor(model)
    used = {number for text in texts for number in encoder.EncodeAsIds(text)}
    new = set(range(size_of(base), encoder.GetPieceSize()))
    return [encoder.IdToPiece(number) for number in sorted(new - used)]


KINDS = pytest.mark.parametrize("kind", ["bpe", "unigram"])


def test_extension_keeps_every_old_id(
    base_model: bytes, amharic: list[str], english: list[str]
) -> None:
    """Old pieces and scores stay; old texts are cut as before; the new language has no unknown."""
    extension = extend(base_model, amharic, 900, base_texts=english)
    base, extended = processor(base_model), processor(extension.model)
    assert (300, 900) == (extension.base_size, extension.size)
    for index in range(300):
        assert base.IdToPiece(index) == extended.IdToPiece(index)
        assert base.GetScore(index) == extended.GetScore(index)
    assert [base.EncodeAsIds(text) for text in english] == [
        extended.EncodeAsIds(text) for text in english
    ]
    assert len(english) == extension.base_texts_compared
    assert extension.before.unknown > 0
    assert (0, 0, "") == (
        extension.after.unknown,
        extension.after.texts_with_unknown,
        extension.after.characters,
    )


@KINDS
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), max_size=30))
@settings(deadline=None, max_examples=60)
def test_any_text_without_the_script_is_cut_as_before(
    text: str, kind: str, bases: dict[str, bytes], grown: dict[str, Extension]
) -> None:
    """Not only the compared texts: whatever has no Ethiopic letter has the same ids."""
    latin = "".join(letter for letter in text if not is_of_script(letter, "Ethiopic"))
    assert 0 == prove_unchanged(bases[kind], grown[kind].model, [latin])


@KINDS
@given(
    parts=st.lists(st.sampled_from([*"ABCEINTX3 [ZH]你好天éŁ,.?!-'", "NI3", "TIAN1", "\u2581[ZH]"]))
)
@settings(deadline=None, max_examples=60)
def test_texts_near_the_base_s_own_pieces_are_cut_as_before(
    parts: list[str], kind: str, bases: dict[str, bytes], grown: dict[str, Extension]
) -> None:
    """User-defined pieces, halves of them and unknown letters in any order."""
    assert 0 == prove_unchanged(bases[kind], grown[kind].model, ["".join(parts)])


@given(text=st.text("AEN3[]:;()%；（你é ።'", max_size=20))
@settings(deadline=None, max_examples=60)
def test_a_new_mark_takes_the_place_of_the_unknown_and_nothing_else_changes(
    text: str, unigram: bytes, marked: Extension
) -> None:
    """Also where the normaliser makes it of another character."""
    prove_unchanged(unigram, marked.model, [text], marked.marks)
    encoder = processor(marked.model)
    normal = set(encoder.Normalize(text))
    if normal.isdisjoint(marked.marks):
        assert processor(unigram).EncodeAsIds(text) == encoder.EncodeAsIds(text)


def test_marks_that_the_texts_need_are_appended(unigram: bytes, marked: Extension) -> None:
    """They are known then, counted and named; one within a piece of the base stays unknown."""
    assert "%():;።" == marked.marks
    assert set("5[]") >= set(marked.after.characters) >= set("[]")
    assert 0 == marked.dead
    assert 1 == marked.base_texts_with_marks
    assert "% ( ) : ; ።" in marked.notes()[-1]
    assert "(1 of 2)" in marked.notes()[-1]


@KINDS
@pytest.mark.parametrize(("more", "least"), [(250, 250), (500, 500), (2_000, 500)])
def test_every_appended_piece_is_used(
    kind: str, more: int, least: int, bases: dict[str, bytes], amharic: list[str]
) -> None:
    """A row that no text trains would be a place lost; letters are readable all the same."""
    base = bases[kind]
    extension = extend(base, amharic, size_of(base) + more)
    assert [] == dead_pieces(base, extension.model, amharic)
    assert 0 == extension.dead
    assert least <= extension.size - extension.base_size <= more
    told = any("the texts use no more" in note for note in extension.notes())
    assert told == (extension.size - extension.base_size < more)
    encoder = processor(extension.model)
    letters = {each for text in amharic for each in text if is_of_script(each, "Ethiopic")}
    assert all(encoder.unk_id() not in encoder.EncodeAsIds(letter) for letter in letters)


@KINDS
@given(
    texts=st.lists(st.text("ሀለመነ A.", min_size=1, max_size=12), min_size=1, max_size=12),
    more=st.integers(8, 40),
)
@settings(deadline=None, max_examples=15)
def test_no_texts_leave_a_dead_piece(
    texts: list[str], more: int, kind: str, bases: dict[str, bytes]
) -> None:
    """Few words, repeated words, single letters: whatever the texts are."""
    base = bases[kind]
    texts = ["ሀለ", *texts]
    extension = extend(base, texts, size_of(base) + more)
    assert [] == dead_pieces(base, extension.model, texts)
    assert 0 == extension.after.unknown


def test_a_unigram_base_spells_held_out_text_as_short_as_a_bpe_one(
    bases: dict[str, bytes], amharic: list[str]
) -> None:
    """Its new scores are on its scale: a word isn't spelt with a lone blank and leftovers."""
    tokens = {
        kind: sum(
            map(
                len,
                processor(extend(base, amharic[:300], size_of(base) + 600).model).EncodeAsIds(
                    amharic[300:]
                ),
            )
        )
        for kind, base in bases.items()
    }
    assert tokens["unigram"] < 1.03 * tokens["bpe"]


def test_new_scores_stay_within_those_of_a_unigram_base(
    unigram: bytes, grown: dict[str, Extension]
) -> None:
    """Outside of them SentencePiece would score unknown and user-defined pieces otherwise."""
    old = [each.score for each in parsed(unigram).pieces if each.type == each.NORMAL]
    new = [each.score for each in parsed(grown["unigram"].model).pieces][size_of(unigram) :]
    assert min(old) <= min(new) < max(new) <= max(old)


def test_scores_are_those_of_an_enumeration() -> None:
    """Expected counts over all spellings of all words, three times, as the docstring says."""
    words = {"ab": 5, "aab": 2, "_ab": 4, "b": 3}
    fixed, new = {"_": -1.0}, ["a", "b", "ab", "aab", "_a"]
    scores = dict.fromkeys(new, -9.0) | fixed
    for _ in range(3):
        expected = dict.fromkeys(new, 0.0)
        for word, count in words.items():
            ways = spellings(word, scores)
            weights = [math.exp(sum(scores[piece] for piece in way)) for way in ways]
            for way, weight in zip(ways, weights, strict=True):
                for piece in set(way) & set(new):
                    expected[piece] += count * weight / sum(weights) * way.count(piece)
        logs = {piece: math.log(each / sum(expected.values())) for piece, each in expected.items()}
        least = min(logs.values())
        scores |= {piece: -9.0 + TEMPER * (log - least) for piece, log in logs.items()}
    fitted = PieceScores(words, fixed, new, -9.0, -0.5).fit(new)
    assert fitted == pytest.approx({piece: scores[piece] for piece in new})


def spellings(word: str, pieces: dict[str, float]) -> list[list[str]]:
    """Return every way to spell a word with pieces."""
    if not word:
        return [[]]
    return [
        [piece, *rest]
        for piece in pieces
        if word.startswith(piece)
        for rest in spellings(word.removeprefix(piece), pieces)
    ]


def test_other_kinds_of_base_are_refused(tmp_path: Path, amharic: list[str]) -> None:
    """A word or character model has no pieces to join letters to."""
    base = write_tokenizer(tmp_path / "word.model").read_bytes()
    with pytest.raises(SettingsInvalid, match="of the kind word"):
        extend(base, amharic, 900)


@KINDS
def test_extension_is_deterministic(kind: str, bases: dict[str, bytes], amharic: list[str]) -> None:
    """The same base and texts give the same bytes, also in another order."""
    base, size = bases[kind], size_of(bases[kind]) + 400
    mixed = amharic[::-1]
    assert extend(base, amharic, size).model == extend(base, mixed, size).model


def test_extension_makes_texts_shorter_with_size(base_model: bytes, amharic: list[str]) -> None:
    """More pieces join more letters: the scores let merges happen."""
    sizes = [extend(base_model, amharic, size).after.tokens for size in (480, 700, 1_500)]
    assert sizes == sorted(sizes, reverse=True)
    assert 1.6 * sizes[-1] < sizes[0]


@KINDS
def test_letters_that_the_texts_lack_are_appended_on_request(
    kind: str, bases: dict[str, bytes], amharic: list[str]
) -> None:
    """For recordings that come later; no text trains their rows, and they are counted as dead."""
    base = bases[kind]
    extension = extend(base, amharic[:50], size_of(base) + 1_000, all_letters=True)
    encoder = processor(extension.model)
    assert encoder.unk_id() not in encoder.EncodeAsIds("ቿ ጇ ኼ ፗ")
    dead = dead_pieces(base, extension.model, amharic[:50])
    assert extension.dead == len(dead) == sum(len(piece) == 1 for piece in dead) > 100


def test_extension_can_be_extended(base_model: bytes, amharic: list[str]) -> None:
    """Extending an extension again keeps all its ids, too."""
    first = extend(base_model, amharic[:100], 500)
    second = extend(first.model, amharic, 800)
    one, two = processor(first.model), processor(second.model)
    pieces = range(first.size)
    assert [one.IdToPiece(index) for index in pieces] == [two.IdToPiece(index) for index in pieces]
    assert second.after.unknown == 0


def test_extension_without_room_is_refused(base_model: bytes, amharic: list[str]) -> None:
    """Fewer new pieces than letters is a clear error with both numbers."""
    with pytest.raises(SettingsInvalid, match="room for 50 new pieces"):
        extend(base_model, amharic, 350)


def test_extension_by_nothing_is_refused(base_model: bytes, amharic: list[str]) -> None:
    """A base that knows all letters already is said to be enough as it is."""
    first = extend(base_model, amharic, 800)
    with pytest.raises(SettingsInvalid, match="no letter of the script Ethiopic") as told:
        extend(first.model, amharic, 1_000)
    assert "--tokenizer" in told.value.remedy
