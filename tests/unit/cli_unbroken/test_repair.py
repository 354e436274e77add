"""`unbroken repair`: what was mended goes on exactly; the old checkpoint stays; nothing is guessed."""

from __future__ import annotations

import errno
import json
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import unbroken
from support.rewritten_checkpoint import rewrite
from support.sameness import same
from support.toy_training import Training, build, train
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.cli.main import main
from unbroken.errors import ResumeRefused
from unbroken.journal.journal import read_lines
from unbroken.run import resume as resuming
from unbroken.testing.disk_calls import Call, DiskRecord, FaultyDisk, using

UNTIL = 9


def call(*words: object) -> int:
    return main([str(word) for word in words])


def state(training: Training) -> dict[str, Any]:
    return training.run.state.capture()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The same training without a stop."""
    training = build(tmp_path_factory.mktemp("uninterrupted"))
    train(training, UNTIL)
    training.run.close()
    return training


@pytest.fixture(scope="module")
def miscounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose saver wrote the schedule's counter two updates ahead."""
    directory = tmp_path_factory.mktemp("miscounted")
    training = build(directory, save_every=3)
    schedule = training.run.schedulers[0]
    right = schedule.state_dict
    schedule.state_dict = lambda: {**right(), "updates": schedule.updates + 2}
    train(training, 6)
    training.run.close()
    return directory


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped inside a step, before it trained any further."""
    directory = tmp_path_factory.mktemp("inside")
    training = build(directory, save_every=3)

    def stop(position: unbroken.Position) -> None:
        if (position.step, position.samples) == (4, 2):
            training.run.save()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(training, UNTIL, stop)
    training.run.close()
    return directory


def copy_of(directory: Path, tmp_path: Path) -> Layout:
    shutil.copytree(directory, tmp_path / "run")
    assert not (tmp_path / "run" / ".writer.json").exists()
    return Layout(tmp_path / "run")


def content(directory: Path) -> dict[str, bytes]:
    files = (each for each in directory.rglob("*") if each.is_file())
    return {each.relative_to(directory).as_posix(): each.read_bytes() for each in files}


def test_a_schedule_is_rebuilt_from_the_updates(
    miscounted: Path, tmp_path: Path, uninterrupted: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before; after the repair it goes on exactly; the old checkpoint is kept, bit by bit."""
    layout = copy_of(miscounted, tmp_path)
    broken = content(layout.checkpoints / "step-00000006")
    with pytest.raises(ResumeRefused, match="counts 8 updates, the run 6"):
        build(layout.root)
    assert 0 == call("repair", layout.root, "schedule")
    assert "scheduler counts 8 updates, the run 6" in capsys.readouterr().out
    training = build(layout.root)
    assert "warning" == training.report.checks.of("learning-rate-continues").severity
    train(training, UNTIL)
    training.run.close()
    assert same(state(uninterrupted), state(training))
    (aside,) = layout.superseded.iterdir()
    assert broken == content(aside)
    assert 0 == call("verify", layout.root)


def test_the_repair_is_written_down(miscounted: Path, tmp_path: Path) -> None:
    """The evidence of the new checkpoint and the history say what was mended."""
    layout = copy_of(miscounted, tmp_path)
    assert 0 == call("repair", layout.checkpoints / "step-00000006", "schedule")
    note = Checkpoint.at(layout.checkpoints / "step-00000006").evidence()["repaired"]
    assert ("schedule", "step-00000006") == (note["what"], note["from"])
    last = list(read_lines(layout.history))[-1]
    assert ("repaired", "schedule") == (last["event"], last["what"])


def test_doctor_finds_it_and_names_the_repair(
    miscounted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`unbroken doctor` says that the counters disagree, with the command; afterwards all is well."""
    layout = copy_of(miscounted, tmp_path)
    assert 3 == call("doctor", layout.root, "--json")
    found = json.loads(capsys.readouterr().out)["checkpoints"]
    assert all(each["remedy"].endswith(" schedule") for each in found)
    for each in found:
        assert 0 == call("repair", layout.checkpoints / each["name"], "schedule")
    assert 0 == call("doctor", layout.root)


def test_a_begun_step_is_begun_again(
    inside: Path, tmp_path: Path, uninterrupted: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    """Back at the start of the step: partial gradients gone, and it ends as if never stopped."""
    layout = copy_of(inside, tmp_path)
    assert 0 == call("repair", layout.root, "position")
    assert "2 samples of step 5 are done" in capsys.readouterr().out
    assert ["step-00000003", "step-00000004"] == sorted(
        p.name for p in layout.checkpoints.iterdir()
    )
    training = build(layout.root)
    assert (4, 0) == (training.run.position.step, training.run.position.samples)
    assert 0 == len(training.report.checks.critical)
    train(training, UNTIL)
    training.run.close()
    assert same(state(uninterrupted), state(training))


@pytest.mark.parametrize("named", [True, False])
def test_falling_back_repeats_the_steps_since(
    miscounted: Path, inside: Path, tmp_path: Path, uninterrupted: Training, *, named: bool
) -> None:
    """A damaged last checkpoint is set aside, and the one before goes on and is proved."""
    layout = copy_of(inside, tmp_path)
    doomed = layout.checkpoints / "step-00000004+2"
    (doomed / "model.safetensors").write_bytes(b"damaged")
    assert 0 == call("repair", doomed if named else layout.root, "previous")
    assert "step-00000003\n" == layout.latest.read_text(encoding="utf-8")
    training = build(layout.root)
    assert 3 == training.run.position.step
    train(training, UNTIL)
    training.run.close()
    assert "EXACT" in str(training.run.monitor.verdict)
    assert same(state(uninterrupted), state(training))


@pytest.mark.parametrize("what", ["schedule", "position", "previous"])
def test_a_dry_run_changes_nothing(
    miscounted: Path, inside: Path, tmp_path: Path, what: str
) -> None:
    """With --dry-run it is only explained."""
    layout = copy_of(miscounted if what == "schedule" else inside, tmp_path)
    before = content(layout.root)
    assert 0 == call("repair", "--dry-run", layout.root, what)
    assert before == content(layout.root)


def test_nothing_is_mended_that_is_not_broken(
    miscounted: Path, inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Agreeing counters, a position between two steps: said, and nothing is written."""
    layout = copy_of(inside, tmp_path)
    before = content(layout.checkpoints)
    assert 0 == call("repair", layout.root, "schedule")
    assert 0 == call("repair", layout.checkpoints / "step-00000003", "position")
    assert 2 == capsys.readouterr().out.count("Nothing to repair")
    assert before == content(layout.checkpoints)


def test_what_cannot_be_mended_is_refused(
    inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damage, no run, a run in use, nothing before: exit codes 4, 4, 2, 4; nothing changes."""
    layout = copy_of(inside, tmp_path)
    assert 4 == call("repair", tmp_path, "schedule")
    assert 4 == call("repair", layout.checkpoints / "step-00000099", "previous")
    shutil.rmtree(layout.checkpoints / "step-00000003")
    (layout.checkpoints / "step-00000004+2" / "state.json").write_bytes(b"{}")
    before = content(layout.checkpoints)
    assert 4 == call("repair", layout.root, "schedule")
    assert 4 == call("repair", layout.root, "previous")
    assert "nothing to fall back to" in capsys.readouterr().err
    assert before == content(layout.checkpoints)


def test_a_run_in_use_is_left_alone(inside: Path, tmp_path: Path) -> None:
    """While another process writes to it: exit code 2, nothing changes."""
    layout = copy_of(inside, tmp_path)
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from unbroken.checkpoint.layout import Layout\n"
        "from unbroken.checkpoint.lock import WriterLock\n"
        "lock = WriterLock(Layout(Path(sys.argv[1])))\nlock.take()\n"
        "print('taken', flush=True)\nsys.stdin.read()\nlock.release()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        assert "taken\n" == other.stdout.readline()
        before = content(layout.checkpoints)
        assert 2 == call("repair", layout.root, "position")
        assert before == content(layout.checkpoints)


def step_ahead(parts: dict[str, Any], evidence: dict[str, Any]) -> None:
    """Put the optimiser's counters ahead of those that the save noted."""
    del evidence
    for each in parts["optimizer"]["state"].values():
        each["step"] += 1


def test_counters_that_nobody_can_judge_are_not_mended(
    miscounted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the optimizer contradicts the position, the schedule is not rebuilt from it."""
    training = build(tmp_path, save_every=0)
    train(training, 2)
    training.run.close()
    rewrite(training.run.layout.checkpoints / "step-00000002", step_ahead)
    with pytest.raises(ResumeRefused, match="optimizer counts 3 updates, the save noted 2"):
        build(tmp_path)
    assert 2 == call("repair", tmp_path, "schedule")
    assert "optimizer counts 3 updates, the save noted 2" in capsys.readouterr().err
    assert 3 == call("doctor", tmp_path)
    said = capsys.readouterr().out
    assert "unbroken repair" not in said  # it would be refused, and nothing stands before it
    assert "optimizer counts 3 updates, the save noted 2" in said


def test_doctor_goes_back_where_the_schedule_can_not_be_rebuilt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that it names is the one that is carried out."""
    training = build(tmp_path, save_every=2)
    train(training, 4)
    training.run.close()
    rewrite(training.run.layout.checkpoints / "step-00000004", step_ahead)
    assert 3 == call("doctor", "--json", tmp_path)
    (newest,) = [
        each["remedy"]
        for each in json.loads(capsys.readouterr().out)["checkpoints"]
        if each["name"] == "step-00000004"
    ]
    assert newest.endswith("step-00000004 previous")
    assert 0 == call(*shlex.split(newest)[1:])


def test_doctor_names_no_repair_without_a_run(
    miscounted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the directory of a run can be repaired; the checkpoint is bad all the same."""
    layout = copy_of(miscounted, tmp_path / "copy")
    layout.run_file.unlink()
    assert 3 == call("doctor", layout.root)
    said = capsys.readouterr().out
    assert "unbroken repair" not in said
    assert "run.json" in said


def calls_of_a_repair(layout: Layout, what: str) -> int:
    record = DiskRecord(layout.root)
    with using(record):
        assert 0 == call("repair", layout.root, what)
    return len(record.calls)


def fault_from(at: int, error: int, _: Call, seen: int) -> int | None:
    return error if seen >= at else None


@pytest.mark.parametrize("what", ["schedule", "position"])
def test_a_fault_at_any_call_loses_nothing(
    miscounted: Path, inside: Path, tmp_path: Path, what: str
) -> None:
    """The disk fails at each call in turn: the old state is still there, and the run can be found."""
    source = miscounted if what == "schedule" else inside
    name = "step-00000006" if what == "schedule" else "step-00000004+2"
    old = content(source / "checkpoints" / name)
    count = calls_of_a_repair(copy_of(source, tmp_path / "counted"), what)
    assert count > 30
    for at in range(count):
        layout = copy_of(source, tmp_path / str(at))
        error = [errno.ENOSPC, errno.EIO, errno.EROFS][at % 3]
        with using(FaultyDisk(partial(fault_from, at, error))):
            call("repair", layout.root, what)
        target = resuming.find_source(layout.root, "auto")
        assert target.checkpoint is not None
        target.checkpoint.verify()
        kept = [
            *layout.checkpoints.glob("*step-*"),
            *(layout.superseded.iterdir() if layout.superseded.is_dir() else ()),
        ]
        assert old in [content(each) for each in kept], f"gone after call {at} of {count}"


def test_a_foreign_schedule_is_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of PyTorch's has more state than a counter: refused, with the way out."""
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = unbroken.Run(
        tmp_path,
        order=unbroken.StepBatches(["a", "b"], None, 1, 0),
        model=model,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    )
    run.resume()
    for step in run.steps(2):
        for _ in step.micro_batches(1):
            step.backward(model(torch.ones(1, 2)).sum())
        step.update()
    run.close()
    assert 2 == call("repair", tmp_path, "schedule")
    assert "not a function of a counter" in capsys.readouterr().err
