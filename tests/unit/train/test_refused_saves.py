"""Saves and records that go wrong under a training: it goes on, and its numbers don't change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.tiny_trainer import TinyTrainer, require_equal
from unbroken.checkpoint import store
from unbroken.checkpoint.layout import Layout
from unbroken.errors import SaveFailed


def test_a_save_that_fails_after_a_validation_ends_nothing(
    trainer: TinyTrainer, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the best checkpoint so far is only one that will be tried again."""
    original = store.commit  # type: ignore[attr-defined]  # as the store calls it
    refused: list[int] = []

    def commit(layout: Layout, frozen: Any, *more: Any) -> Path:
        if frozen.metrics and not refused:
            refused.append(frozen.position.step)
            raise SaveFailed("The disk is full.", "The work is at risk.", "Free space.")
        return original(layout, frozen, *more)

    monkeypatch.setattr(store, "commit", commit)
    ended = trainer.start(tmp_path)
    assert ended.code == 0, ended.err
    assert refused == [5]
    assert "SAVE FAILED: The disk is full." in ended.out
    require_equal(whole, tmp_path)


def test_a_damaged_journal_line_costs_nothing_but_an_average(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """Whatever stands in the line of a step of the interval that goes on."""
    trainer.stop(tmp_path, at=7)
    journal = Layout(tmp_path).journal
    kept = journal.read_bytes()
    damaged = [{"step": 5}, {"step": 6, "text_loss": "x", "mel_loss": None, "mel_top1": []}]
    journal.write_bytes(kept + b"".join(json.dumps(each).encode() + b"\n" for each in damaged))
    ended = trainer.start(tmp_path)
    assert ended.code == 0, ended.err
    assert ended.lines("[Train] step=8 ")
    journal.write_bytes(journal.read_bytes().replace(b'{"step": 5}\n', b""))
    lines = [each for each in journal.read_bytes().splitlines() if b"null" not in each]
    journal.write_bytes(b"\n".join(lines) + b"\n")
    require_equal(whole, tmp_path)
