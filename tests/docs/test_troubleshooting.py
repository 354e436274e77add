"""The page on findings: every id, and the known five first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.findings import CHECKS
from unbroken.checks.last_batch_identical import LastBatchIdentical
from unbroken_tts.rescue.rescue_checks import RESCUE_IDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = PAGE.split("\n### ")[1:]
LABELS = ["Message", "Explanation", "Is this bad?", "Action", "Prevention"]


def test_the_known_five_come_first_and_every_id_has_an_entry() -> None:
    """Under the names its users know; then all others, each once."""
    headings = [each.splitlines()[0] for each in ENTRIES]
    assert [
        "Batch size changed",
        "Mid-accumulation",
        "LR mismatch",
        "Gradient masking",
        "Loss variance",
    ] == headings[:5]
    ids = [match.group(1) for each in ENTRIES if (match := re.search(r"Id: `([a-z-]+)`", each))]
    assert sorted([*CHECKS, *RESCUE_IDS, LastBatchIdentical.id]) == sorted(ids)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda each: each.splitlines()[0])
def test_an_entry_answers_the_five_questions(entry: str) -> None:
    """Message, explanation, is this bad, action, prevention: none is left empty."""
    found = dict(re.findall(r"^- \*\*(.*?)\*\*:? (.*)$", entry, re.MULTILINE))
    assert LABELS == [each for each in found if each in LABELS]
    assert all(len(found[each]) > 10 for each in LABELS)


@pytest.mark.parametrize(
    "message",
    [
        (
            "WARNING: Batch size changed! Checkpoint: 8, Current: 64. If the run goes on, the new size "
            "acts from the first sample not yet trained"
        ),
        "WARNING: Resuming mid-accumulation cycle (counter=2)",
        "CRITICAL: LR mismatch (100.0% difference)",
        "CRITICAL: Gradient masking FAILED! Base embeddings have gradients",
        "CRITICAL: Large loss variance (194.1%, 129.8%)",
    ],
)
def test_the_sentences_users_know_can_be_found(message: str) -> None:
    """Whoever searches the page for what was printed finds it word for word."""
    assert f"- **Message**: `{message}`" in PAGE
