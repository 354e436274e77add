"""The progress of trainings that run as children, by their journals."""

from __future__ import annotations

from pathlib import Path

from unbroken import RunDirectory
from unbroken_tts.demo.watch import watching
from unbroken_tts.progress import Progress


def test_a_training_that_waits_for_another_one_is_not_reported(tmp_path: Path) -> None:
    """Its time left would be estimated from the wait."""
    begun = RunDirectory(tmp_path / "A").journal
    begun.parent.mkdir()
    said: list[tuple[str, int, int]] = []

    def stages(name: str) -> Progress:
        return lambda done, total: said.append((name, done, total))

    with watching({"A": (tmp_path / "A", 9), "C": (tmp_path / "C", 5)}, stages):
        begun.write_text('{"step": 3}\n', encoding="utf-8")
    assert {("A", 3, 9)} == set(said)
