"""The vocabulary of IndexTTS-2.5: the ids of its program, and one clear message for any damage."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from support.byte_vocabulary import MERGES, tokens, write_vocabulary, written
from unbroken import DataInvalid
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tiktoken_tokenizer import TiktokenTokenizer, printable
from unbroken_tts.data.whisper_tokens import LANGUAGES, SPECIAL_TOKENS

RANKS = 256 + len(MERGES)
PIECES_OF_TEXT = st.one_of(
    st.text(), st.sampled_from(["<|am|> ", "<|SPECIAL_TOKEN_1|>", "ሰላም", " the", "<|", "|>"])
)
TEXTS = st.lists(PIECES_OF_TEXT, max_size=6).map("".join)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TiktokenTokenizer:
    path = write_vocabulary(tmp_path_factory.mktemp("vocabulary") / "mini.tiktoken")
    opened = open_tokenizer(path)
    assert isinstance(opened, TiktokenTokenizer)
    return opened


@pytest.fixture(scope="module")
def by_hand() -> tiktoken.Encoding:
    """The encoding as the program builds it, with the special tokens counted up by hand."""
    count = RANKS
    special = {}
    for name in SPECIAL_TOKENS:
        special[name] = count
        count += 1
    return tiktoken.Encoding(
        name="by hand",
        pat_str=r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks={token: rank for rank, token in enumerate(tokens())},
        special_tokens=special,
        explicit_n_vocab=count,
    )


def test_special_tokens_have_the_ids_of_the_real_vocabulary() -> None:
    """With 58,836 ranks before them, their ids are those that were published for 2.5."""
    at = {name: 58_836 + number for number, name in enumerate(SPECIAL_TOKENS)}
    assert len(at) == 1_673
    known = {
        "<|en|>": 58_838,
        "<|zh|>": 58_839,
        "<|TTS/SP13|>": 59_007,
        "<|0.00|>": 59_008,
        "<|30.00|>": 60_508,
    }
    assert known == {name: at[name] for name in known}
    assert at["<|am|>"] == at["<|en|>"] + LANGUAGES.index("am")
    assert (99, "su") == (len(LANGUAGES), LANGUAGES[-1])
    assert "yue" not in LANGUAGES


@given(text=TEXTS)
def test_any_text_comes_back(tokenizer: TiktokenTokenizer, text: str) -> None:
    """Every text can be spelt, in ids below V, and is itself again when decoded, but for `!` and `"`."""
    ids = tokenizer.encode(text)
    assert all(0 <= each < tokenizer.vocabulary for each in ids)
    assert text.replace("!", "").replace('"', "") == tokenizer.decode(ids)
    assert tokenizer.unknown_id not in ids


@given(text=TEXTS)
def test_ids_are_those_of_the_inference_program(
    tokenizer: TiktokenTokenizer, by_hand: tiktoken.Encoding, text: str
) -> None:
    """They equal those of an encoding built by hand, special tokens included, without start and stop."""
    given_to_the_model = [each for each in by_hand.encode(text, allowed_special="all") if each > 1]
    assert given_to_the_model == tokenizer.encode(text)
    assert by_hand.n_vocab == tokenizer.vocabulary


def test_the_first_id_of_a_text_names_its_language(tokenizer: TiktokenTokenizer) -> None:
    """`<|am|>` is one id, as far behind that of `<|en|>` as its row is in the table."""
    ids = tokenizer.encode("<|am|> ሰላ")
    assert LANGUAGES.index("am") == ids[0] - tokenizer.first_language_id
    assert ["<|am|>", "\u2581ሰ", "ላ"] == [tokenizer.pieces[each] for each in ids]
    cantonese = tokenizer.encode("<|yue|> ሰላ")
    assert cantonese[0] < RANKS


@given(tokens=st.lists(st.binary(max_size=6), unique=True, max_size=40))
def test_pieces_are_told_apart(tokens: list[bytes]) -> None:
    """No two tokens are shown alike, and all can be printed."""
    shown = [printable(token) for token in tokens]
    assert len(set(shown)) == len(tokens)
    assert all(text.isprintable() for text, _ in shown)


@pytest.mark.parametrize(
    ("token", "piece", "kind"),
    [
        (b" the", "\u2581the", "normal"),
        (" ሰ".encode(), "\u2581ሰ", "normal"),
        (b" \xe1\x88", "\u2581<0xE1><0x88>", "byte"),
        (b"a\n", "a<0x0A>", "byte"),
        (b"<0x", "<0x", "normal"),
        (b"<\xff", "<0x3C><0xFF>", "byte"),
        ("\u2581".encode(), "<0xE2><0x96><0x81>", "byte"),
        (b"", "", "unused"),
    ],
)
def test_bytes_that_are_no_text_are_shown_as_bytes(token: bytes, piece: str, kind: str) -> None:
    """A piece is text where its bytes are; what isn't is written in hexadecimal."""
    assert (piece, kind) == printable(token)


def test_the_digest_is_of_the_content(tmp_path: Path, tokenizer: TiktokenTokenizer) -> None:
    """Path, order of lines and line ends don't count; a token more does."""
    path = tmp_path / "tokenizer.model"
    lines = tokenizer.path.read_bytes().splitlines()
    path.write_bytes(b"\r\n".join(reversed(lines)))
    assert tokenizer.digest == open_tokenizer(path).digest
    other = write_vocabulary(tmp_path / "other", (*MERGES, b"zz"))
    assert tokenizer.digest != open_tokenizer(other).digest


def test_the_token_without_bytes_is_read(tmp_path: Path, tokenizer: TiktokenTokenizer) -> None:
    """Whisper's own file has one, written `=`; no text contains it."""
    path = tmp_path / "empty.tiktoken"
    path.write_bytes(tokenizer.path.read_bytes() + f"= {RANKS}\n".encode())
    opened = open_tokenizer(path)
    assert opened.vocabulary == tokenizer.vocabulary + 1
    assert opened.kinds[RANKS] == "unused"
    assert opened.encode("the") == tokenizer.encode("the")


WHOLE = written(tokens()).splitlines(keepends=True)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"".join([*WHOLE[:3], b"!!! 3\n", *WHOLE[4:]]), "no token and rank in line 4"),
        (b"".join([*WHOLE[:3], b"JA=== 3\n", *WHOLE[4:]]), "no token and rank in line 4"),
        (b"".join([*WHOLE[:3], b"JAA 3\n", *WHOLE[4:]]), "no base64 in line 4"),
        (b"".join([*WHOLE[:3], b"JA==\n", *WHOLE[4:]]), "no token and rank in line 4"),
        (b"".join([*WHOLE[:3], b"\n", *WHOLE[3:]]), "no token and rank in line 4"),
        (b"".join([*WHOLE, WHOLE[7]]), f"a token a second time in line {RANKS + 1}"),
        (b"".join([*WHOLE, b"enp6 5\n"]), f"has {RANKS + 1} tokens, but none of the rank {RANKS}"),
        (b"".join([*WHOLE[:-2], WHOLE[-1]]), f"none of the rank {RANKS - 2}"),
        (written(tokens()[1:]), r"lacks 1 of the 256 single bytes \(21\)"),
        (WHOLE[0] + b"\x00\xff" * 50, "no token and rank in line 2"),
        (b"".join(WHOLE) + base64.b64encode(b"a" * 1025) + b" 272\n", "a token of 1025 bytes"),
        (b"IQ== 0\n" * 1_000_001, "has 1000001 lines"),
        (b"IQ== 99999999999999999999\n", "no token and rank in line 1"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: bytes, what: str) -> None:
    """The message names the file, the line, and where the vocabulary comes from."""
    path = tmp_path / "damaged.tiktoken"
    path.write_bytes(content)
    with pytest.raises(DataInvalid, match=what) as refused:
        open_tokenizer(path)
    assert str(path) in refused.value.what
    assert "IndexTTS-2.5" in refused.value.remedy


@given(place=st.integers(0, 3_000), found=st.binary(max_size=3), gone=st.integers(0, 3))
def test_no_damage_crashes(
    tmp_path_factory: pytest.TempPathFactory, place: int, found: bytes, gone: int
) -> None:
    """Whatever bytes change: another whole vocabulary, or `DataInvalid`."""
    content = b"".join(WHOLE)
    path = tmp_path_factory.mktemp("hostile") / "x.tiktoken"
    path.write_bytes(content[:place] + found + content[place + gone :])
    try:
        opened = open_tokenizer(path)
    except DataInvalid:
        return
    assert opened.decode(opened.encode("ሰላም the")) == "ሰላም the"


def test_start_and_stop_are_no_part_of_a_text(tokenizer: TiktokenTokenizer) -> None:
    """`!` and `"` have their ids; the program leaves them out of a text, and so do we."""
    assert ["!", '"'] == [*tokenizer.pieces[:2]]
    assert tokenizer.encode('the!"') == tokenizer.encode("the")
    assert tokenizer.first_text_id({0, 1}) == 2
