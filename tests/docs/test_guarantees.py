"""The page of guarantees names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    """Each `file::test` of docs/guarantees.md is a function of that file."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 15
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).is_file()
        or f"\ndef {test}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert [] == missing


def test_every_promise_has_a_proof() -> None:
    """No row of a table of promises is without a test, or the words that it is the one above."""
    tables = re.findall(r"^\| Promise .*\n\| ---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    promises = [line.split("|") for table in tables for line in table.splitlines()]
    assert len(promises) > 50
    assert [] == [row[1] for row in promises if "::" not in row[2] and "the same" not in row[2]]
