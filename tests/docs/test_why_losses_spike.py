"""The page on spikes tells of the faults that the self-test does first, and of tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from unbroken.selftest.original import AREA

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "why-losses-spike.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_each_bug_has_its_entry_and_row() -> None:
    """The entries and the rows of the table are the faults of the area, in their order."""
    ids = [each.id for each in AREA.faults]
    assert ids == list(ENTRIES)
    assert ids == re.findall(r"^\| \[`(\S+)`\]", PAGE, re.MULTILINE)


def test_each_entry_names_its_test() -> None:
    """Cause, remedy and an existing test stand in every entry."""
    for id_, text in ENTRIES.items():
        assert "**Cause.**" in text, id_
        assert "**Here.**" in text, id_
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
        assert 1 == len(named), id_
        for file, test in named:
            assert f"\ndef {test}(" in (ROOT / file).read_text(encoding="utf-8"), id_
