"""Two tokenizers, piece by piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tokenizer_files import write_pieces
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tokenizer_kinship import Kinship

BASE: list[str | tuple[str, str]] = ["\u2581", "\u2581THE", "TH", "E", ("NI3", "USER_DEFINED")]


def kinship(root: Path, new: list[str | tuple[str, str]]) -> Kinship:
    """Return the kinship of a tokenizer of these pieces with that of `BASE`."""
    return Kinship(
        open_tokenizer(write_pieces(root / "base.model", BASE)),
        open_tokenizer(write_pieces(root / "new.model", new)),
    )


def test_an_extension_begins_with_all_pieces(tmp_path: Path) -> None:
    """All ids stand for the same, and the others are new."""
    kin = kinship(tmp_path, [*BASE, "ሰ", "ላ"])
    assert kin.is_extension
    assert 8 == kin.same
    assert (*range(8), None, None) == kin.sources


@pytest.mark.parametrize(
    ("new", "same", "told"),
    [
        ([*BASE[:2], "X", *BASE[3:]], 5, "id 5 is 'X', in the base 'TH'"),
        ([*BASE[:4], "NI3"], 7, "id 7, 'NI3', is of the kind normal, in the base user_defined"),
        (BASE[:3], 6, "it ends at id 5, the base at 7"),
    ],
)
def test_what_differs_first_is_named(
    tmp_path: Path, new: list[str | tuple[str, str]], same: int, told: str
) -> None:
    """The same spelling of another kind is another piece: it is found in other places of a text."""
    kin = kinship(tmp_path, new)
    assert not kin.is_extension
    assert same == kin.same
    assert told == kin.first_difference()


def test_a_tokenizer_of_its_own_is_matched_by_spelling(tmp_path: Path) -> None:
    """Wherever the piece stands."""
    kin = kinship(tmp_path, ["ሰ", "E", "\u2581THE", "NI3"])
    assert (0, 1, 2, None, 6, 4, None) == kin.sources


def test_a_new_piece_was_spelt_with_old_ones(tmp_path: Path) -> None:
    """Without `<unk>`, and without the blank that SentencePiece puts before every text."""
    kin = kinship(tmp_path, [*BASE, "\u2581THEE", "EE", "ሰ", "\u2581ሰ"])
    assert [4, 6] == kin.spelling("\u2581THEE")
    assert [6, 6] == kin.spelling("EE")
    assert [] == kin.spelling("ሰ")
    assert [3] == kin.spelling("\u2581ሰ")
