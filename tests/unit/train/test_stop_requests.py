"""A stop asked for at an awkward moment: before the steps, in a validation, while speaking."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.tiny_trainer import TinyTrainer, newest, require_equal
from unbroken.checkpoint.layout import Layout
from unbroken.run.resume import run_id_of
from unbroken_tts.train import inputs, loader, session, validation


def ask(name: str) -> None:
    """Send a signal to this process."""
    signal.raise_signal(getattr(signal, name))  # to this thread, so that it is heard here and now


@pytest.fixture(autouse=True)
def in_the_foreground() -> Iterator[None]:
    """Hear Ctrl+C as in a terminal; what a shell starts in the background ignores it."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 75), ("SIGHUP", 75), ("SIGUSR1", 75), ("SIGINT", 130)]
)
def test_a_stop_while_the_data_is_looked_at_leaves_no_half_run(
    trainer: TinyTrainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    code: int,
) -> None:
    """Nothing was begun, so nothing is there; the handlers of the process are put back."""
    before = {number: signal.getsignal(number) for number in (15, 1, 10, 2)}
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "preflight", lambda *_a, **_k: ask(name))
        ended = trainer.start(tmp_path)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    assert run_id_of(Layout(tmp_path)) is None
    assert before == {number: signal.getsignal(number) for number in before}


@pytest.mark.parametrize("moment", ["restore", "move", "open"])
def test_a_stop_while_a_run_is_restored_or_moved_loses_nothing(
    trainer: TinyTrainer, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The next start finds everything."""
    from unbroken.checkpoint import run_directory
    from unbroken.journal.record import RunRecord
    from unbroken.run import resume

    trainer.stop(tmp_path, at=6)

    def then_ask(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            ask("SIGTERM")
            return original(*args, **kwargs)

        return called

    owner, name, how = {
        "restore": (resume, "restore", "auto"),
        "move": (run_directory, "finish_moving", ""),
        "open": (RunRecord, "begin", "auto"),
    }[moment]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, then_ask(getattr(owner, name)))
        assert trainer.start(tmp_path, resume=how).code == 75
    place = min((tmp_path / "earlier").iterdir()) if moment == "move" else tmp_path
    ended = trainer.start(tmp_path, resume=str(place))
    assert ended.code == 0, ended.err
    require_equal(whole, place)


@pytest.mark.parametrize("first_of_the_start", [False, True])
def test_a_stop_during_a_validation_repeats_it_later(
    trainer: TinyTrainer,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first_of_the_start: bool,
) -> None:
    """The validation is broken off, the state saved, and the next start validates first."""
    original = loader.validation_batches

    def interrupted(*args: Any) -> Iterator[Any]:
        for number, batch in enumerate(original(*args)):
            if number == 1:
                ask("SIGTERM")
            yield batch

    for _ in range(1 + first_of_the_start):
        with monkeypatch.context() as patch:
            patch.setattr(validation, "validation_batches", interrupted)
            ended = trainer.start(tmp_path)
        assert ended.code == 75, ended.err
        assert not ended.lines("[Val]")
        assert newest(tmp_path).position.step == 5
    ended = trainer.start(tmp_path)
    assert ended.code == 0, ended.err
    assert ended.lines("[Val]")[0].startswith("[Val] step=5 ")
    require_equal(whole, tmp_path)


def test_a_sample_that_changes_under_way_is_named(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by a worker, it ends the run by exit code 2 and three sentences; no neighbour is taken."""
    from support.pairs import write_pairs

    manifest = write_pairs(tmp_path / "data", 44, split="train")
    doomed = tmp_path / "data/features/codes/train_00007.npy"
    original = inputs.read_inputs

    def read_inputs(*args: Any, **named: Any) -> Any:
        found = original(*args, **named)
        doomed.unlink()
        return found

    monkeypatch.setattr(session, "read_inputs", read_inputs)
    flags = ("--train-manifest", manifest, "--num-workers", 2)
    ended = trainer.start(tmp_path / "run", *flags)
    assert ended.code == 2, ended.err
    assert str(doomed) in ended.err
    assert len(ended.err.splitlines()) == 3
