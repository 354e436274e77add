"""Logs that are gone, cut or another run's are told at the resume, once, and never stop it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.tiny_trainer import TinyTrainer, write_tiny_trainer
from support.toy_training import build, train
from unbroken.checkpoint.layout import Layout
from unbroken.checks.check import CheckOutcome
from unbroken.checks.report import Finding

CURVES = "run_1/events.out.tfevents.1700000000.here.1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A run of eight steps, saved after the sixth, with a file of curves that grows meanwhile."""
    training = build(tmp_path / "run")
    curves = training.run.layout.logs / CURVES
    curves.parent.mkdir(parents=True)
    curves.write_bytes(b"x" * 100)
    train(training, 8, after_step=lambda _: curves.write_bytes(curves.read_bytes() + b"x"))
    training.run.close()
    return training.run.layout


def found(layout: Layout, how: str = "auto") -> Finding:
    """Resume, train a step, and return what was found."""
    training = build(layout.root, how)
    finding = training.report.checks.of("logs-continue")
    train(training, training.run.position.step + 1)
    training.run.close()
    return finding


def lines(layout: Layout) -> list[bytes]:
    return layout.journal.read_bytes().splitlines(keepends=True)


def journal_gone(layout: Layout) -> None:
    layout.journal.unlink()


def journal_cut(layout: Layout) -> None:
    layout.journal.write_bytes(b"".join(lines(layout)[:3]))


def journal_beginning_gone(layout: Layout) -> None:
    layout.journal.write_bytes(b"".join(lines(layout)[3:]))


def journal_rewritten(layout: Layout) -> None:
    layout.journal.write_bytes(layout.journal.read_bytes().replace(b'"lr"', b'"LR"'))


def journal_of_another_run(layout: Layout) -> None:
    other = build(layout.root.parent / "other", seed=8)
    train(other, 12)
    other.run.close()
    layout.journal.write_bytes(other.run.layout.journal.read_bytes())


def curves_gone(layout: Layout) -> None:
    (layout.logs / CURVES).unlink()


def curves_cut(layout: Layout) -> None:
    (layout.logs / CURVES).write_bytes(b"x" * 50)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (journal_gone, "journal.jsonl is missing; it had the steps up to 8"),
        (journal_cut, "journal.jsonl was truncated: it ends at step 3, and had step 8 at the save"),
        (journal_beginning_gone, "journal.jsonl was truncated"),
        (
            journal_rewritten,
            "journal.jsonl is another file: its line of step 8 is not where it was",
        ),
        (journal_of_another_run, "journal.jsonl is another"),
        (curves_gone, f"logs/{CURVES} is missing"),
        (curves_cut, f"logs/{CURVES} was truncated: 50 bytes, had 108"),
    ],
)
def test_what_was_done_to_the_logs_is_told_once(
    layout: Layout, spoil: Callable[[Layout], None], told: str
) -> None:
    """The run goes on with a warning; the next checkpoint notes the logs as they are."""
    spoil(layout)
    finding = found(layout)
    assert CheckOutcome.DIFFERS is finding.outcome
    assert not finding.is_critical
    assert told in finding.numbers
    assert CheckOutcome.AGREES is found(layout).outcome


def test_logs_that_went_on_agree(layout: Layout) -> None:
    """After a stop, after a kill with lines beyond the save, from an older checkpoint."""
    assert CheckOutcome.AGREES is found(layout).outcome
    with layout.journal.open("ab") as journal:
        journal.write(b'{"step": 10, "torn')
    (layout.logs / "run_1/events.out.tfevents.1700000001.here.2").write_bytes(b"")
    assert CheckOutcome.AGREES is found(layout).outcome
    older = min(layout.checkpoints.glob("step-*"))
    assert CheckOutcome.AGREES is found(layout, str(older)).outcome


def test_a_checkpoint_that_notes_nothing_cannot_be_compared() -> None:
    """An earlier version wrote it: counted, and nothing more."""
    from unbroken.checks.logs_continue import LogsContinue
    from unbroken.checks.state_summary import StateSummary

    live = StateSummary(evidence={"logs": {}})
    assert CheckOutcome.CANNOT_COMPARE is LogsContinue().compare(StateSummary(), live).outcome


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


def test_the_trainer_misses_its_curves(trainer: TinyTrainer, tmp_path: Path) -> None:
    """Its event files are noted; where they were deleted, the report names them and training goes on."""
    trainer.stop(tmp_path, "--val-interval", "0", "--log-interval", "1", at=4)
    for each in tmp_path.glob("logs/run_*/events.*"):
        each.unlink()
    trainer.stop(tmp_path, "--val-interval", "0", "--log-interval", "1", at=6)
    log = (tmp_path / "logs/console.log").read_text("utf-8")
    report = max(tmp_path.glob("logs/resume-*.txt")).read_text("utf-8")
    assert "events.out.tfevents." in report
    assert "is missing" in report
    assert "PASSED: all differences are allowed or accepted (logs-continue)" in report
    assert "[Replay] EXACT" in log
