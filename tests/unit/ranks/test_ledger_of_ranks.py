"""The ledger of a run that several processes train: the samples of all ranks together."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.ranked_training import EPOCHS, SAMPLES, ended, ranks
from unbroken.checkpoint.layout import Layout
from unbroken.doctor.ledger import Ledger, examine_ledger

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def ledger_of(place: Path) -> Ledger:
    """Return the ledger of a run."""
    found = examine_ledger(Layout(place))
    assert found is not None
    return found


def test_the_ranks_of_a_killed_run_used_each_sample_once_together(tmp_path: Path) -> None:
    """A rank is killed, all begin again; a line that one rank lacks is found, and its rank named."""
    assert -9 == ranks(3, tmp_path, "die=2@4")[2].returncode
    ended(ranks(3, tmp_path))
    found = ledger_of(tmp_path)
    assert "proved" == found.outcome
    assert [(SAMPLES, "each once, by 3 ranks (0 to N-1, recomputed)")] * EPOCHS == [
        (each.samples, each.verdict) for each in found.epochs
    ]
    journal = tmp_path / "ranks" / "rank-00001" / "journal.jsonl"
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    kept = [each for each in lines if json.loads(each)["step"] != 9]
    journal.write_text("".join(kept), "utf-8")
    [fault] = ledger_of(tmp_path).faults
    assert ("gap", 1, 9, "rank 1: step 9 has no line in the journal") == fault
