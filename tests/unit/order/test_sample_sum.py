"""The sum over names of samples."""

from __future__ import annotations

import hashlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.order.sample_sum import count_samples, sample_sum, sum_of_text, sum_text

NAMES = st.lists(st.text(), max_size=20)


def test_the_scheme_never_changes() -> None:
    """Journals of every version are read by it: BLAKE2b-128 of each name, big-endian, modulo 2^128."""
    assert "8a278acfba7c2bdcc6a86d22f2ab01d9" == sum_text(sample_sum(["0", "1", "clip-7"]))
    one = int.from_bytes(hashlib.blake2b(b"clip-7", digest_size=16).digest())
    assert one == sample_sum(["clip-7"])
    assert (one * 2**4) % 2**128 == sample_sum(["clip-7"] * 2**4)


@given(NAMES, NAMES, st.randoms())
def test_order_and_cut_change_nothing(one: list[str], other: list[str], chance: Random) -> None:
    """The sums of two parts add up to that of the whole in any order."""
    whole = [*one, *other]
    chance.shuffle(whole)
    assert (sample_sum(one) + sample_sum(other)) % 2**128 == sample_sum(whole)


@given(NAMES, st.text())
def test_one_more_or_one_less_is_another_sum(names: list[str], more: str) -> None:
    """However the rest is ordered."""
    assert sample_sum([more, *names]) != sample_sum(names)


@given(NAMES)
def test_a_whole_list_is_counted_alike(names: list[str]) -> None:
    """In blocks, with the same sum, and each name that comes again told."""
    assert (len(names), len(set(names)), sample_sum(names)) == count_samples(iter(names))


def test_more_than_a_block_is_counted() -> None:
    """As a data set of 70,000 samples, of which one comes again."""
    names = [str(i) for i in range(70_000)]
    assert (70_001, 70_000, sample_sum([*names, "7"])) == count_samples([*names, "7"])


def test_a_name_that_is_no_text_of_unicode_has_a_sum() -> None:
    """File names may hold lone surrogates."""
    assert sample_sum(["\udcff"]) != sample_sum(["\udcfe"])


@pytest.mark.parametrize(
    "text", [None, 5, "", "0" * 31, "0" * 33, "g" * 32, "A" * 32, " " + "0" * 31]
)
def test_what_is_no_sum_is_none(text: object) -> None:
    """A damaged journal is not taken for a proof."""
    assert sum_of_text(text) is None
    assert 255 == sum_of_text("0" * 30 + "ff")
