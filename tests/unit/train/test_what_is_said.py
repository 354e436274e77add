"""What a training says to the person who started it, beside its figures."""

from __future__ import annotations

from pathlib import Path

from support.tiny_trainer import TESTS, TinyTrainer, asked_to_stop


def test_a_stop_is_told_once_while_it_is_under_way(trainer: TinyTrainer, tmp_path: Path) -> None:
    """The steps after the save take time: who asked reads at once that it was heard, and the end once."""
    with asked_to_stop(6, 3):
        ended = trainer.start(tmp_path)
    assert ended.code == 75, ended.err
    assert 1 == len(ended.lines("Stopping (SIGTERM): "))
    assert "Stopped by" not in ended.out
    assert ended.err.startswith("Stopped by SIGTERM; saved as step-00000006+6."), "no error"
    assert 1 == ended.err.count("Stopped by SIGTERM")
    log = (tmp_path / "logs/console.log").read_text("utf-8")
    assert log.index("Stopping (SIGTERM): ") < log.index("Ended: Stopped by SIGTERM")


def test_a_warm_up_longer_than_the_run_is_noted(trainer: TinyTrainer, tmp_path: Path) -> None:
    """Also where epochs decide how long the run is."""
    ended = trainer.start(tmp_path, "--max-steps", 0, "--epochs", 1, "--warmup-steps", 1000)
    assert ended.code == 0, ended.err
    assert 1 == len(ended.lines("NOTE: --warmup-steps 1000 is not below the "))


def test_a_finished_run_has_nothing_to_train_and_nothing_to_prove(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """However often it is resumed it says so, and every file it leaves has its word in the docs."""
    flags = ("--max-steps", 1, "--warmup-steps", 1)
    assert trainer.start(tmp_path, *flags).code == 0
    for _ in range(3):
        ended = trainer.start(tmp_path, *flags)
        assert ended.code == 0, ended.err
        assert 1 == len(
            ended.lines("Nothing to train: the run is complete (1 step done, 1 wanted)")
        )
        assert 1 == len(ended.lines("Training complete: 1 step, 1 update"))
        assert "[Replay]" not in ended.out + ended.err
        assert "[Watch]" not in ended.out + ended.err
    page = (TESTS.parent / "docs/architecture.md").read_text("utf-8")
    listed = page.partition("## On disk")[2].partition("## ")[0]
    known = {each.split()[0].partition("/")[0] for each in listed.splitlines() if each[:2] == "  "}
    assert set() == {each.name for each in tmp_path.iterdir()} - known
