"""The snapshot is of one instant, saves keep their order, and no error stays in the background."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support import toy_training as toy
from support.recorded_run import Training
from unbroken.checkpoint.document import MAX_DOCUMENT_BYTES
from unbroken.checkpoint.file_image import FileImage, HostCopy
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.saver import Saver
from unbroken.errors import SaveFailed
from unbroken.run import resume as resuming
from unbroken.state.digest import host_bytes
from unbroken.testing.disk_calls import FaultyDisk, recorded, using

Tensors = Mapping[str, torch.Tensor]


@pytest.fixture
def training(tmp_path: Path) -> Training:
    """A training of two steps that has not saved yet."""
    found = Training(tmp_path / "run", keep=9)
    found.train(2)
    return found


def copies_nothing(monkeypatch: pytest.MonkeyPatch, _: Training) -> None:
    """Return before the copy."""
    monkeypatch.setattr(FileImage, "capture", lambda *_: None)


def forgets_a_leaf(monkeypatch: pytest.MonkeyPatch, _: Training) -> None:
    """Leave the last tensor of each file as it was."""
    original = FileImage.capture

    def capture(image: FileImage, tensors: Tensors) -> None:
        original(image, dict(list(tensors.items())[:-1]))

    monkeypatch.setattr(FileImage, "capture", capture)


def lets_an_update_through(monkeypatch: pytest.MonkeyPatch, training: Training) -> None:
    """Change one weight while the rest is being copied."""
    original = FileImage.capture

    def capture(image: FileImage, tensors: Tensors) -> None:
        original(image, tensors)
        with torch.no_grad():
            training.model.get_parameter("2.bias").add_(1e-6)

    monkeypatch.setattr(FileImage, "capture", capture)


def is_late(monkeypatch: pytest.MonkeyPatch, training: Training) -> None:
    """Copy only when the file is written, as an alias of live memory would, or a lazy copy."""
    live: dict[int, Tensors] = {}
    content = FileImage.padded
    original = FileImage.capture

    def capture(image: FileImage, tensors: Tensors) -> None:
        live[id(image)] = dict(tensors)
        original(image, tensors)

    def padded(image: FileImage) -> memoryview:
        found = content(image)
        for name, tensor in live.get(id(image), {}).items():
            begin, end = image.places[name]
            found[begin:end] = np.frombuffer(host_bytes(tensor), dtype=np.uint8).data
        return found

    monkeypatch.setattr(FileImage, "capture", capture)
    monkeypatch.setattr(FileImage, "padded", padded)

    def before_commit() -> None:
        with torch.no_grad():
            training.model.get_parameter("0.weight").mul_(1.5)

    monkeypatch.setattr(training.run._open.saves.saver, "before_commit", before_commit)


@pytest.mark.parametrize(
    "mutation", [copies_nothing, forgets_a_leaf, lets_an_update_through, is_late]
)
def test_a_snapshot_that_is_of_no_instant_is_found(
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
    mutation: Callable[[pytest.MonkeyPatch, Training], None],
) -> None:
    """A copy that is not the live state is found at the first save, and nothing becomes visible."""
    mutation(monkeypatch, training)
    with pytest.raises(SaveFailed, match="live"):
        training.run.save()
    assert resuming.find_source(training.run.layout.root, "auto").checkpoint is None


def test_the_first_save_finds_its_memory_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is allocated after the first step, in the background, and used again by every save."""
    made: list[str] = []
    original = FileImage.__init__

    def init(image: FileImage, tensors: Tensors, *, pinned: bool = False) -> None:
        made.append(threading.current_thread().name)
        original(image, tensors, pinned=pinned)

    monkeypatch.setattr(FileImage, "__init__", init)
    training = Training(tmp_path / "other", keep=9)
    training.train_by_steps(2)
    assert made
    assert all(each.startswith("unbroken-save") for each in made)
    count = len(made)
    training.train_by_steps(4)
    assert count == len(made)
    training.run.close()


def test_the_next_step_does_not_reach_the_snapshot(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved is the state of the call, although training goes on before it is written."""
    written = threading.Event()
    saver = training.run._open.saves.saver
    assert saver is not None
    monkeypatch.setattr(saver, "before_commit", lambda: written.wait(60))
    expected = {name: each.clone() for name, each in training.model.state_dict().items()}
    training.run.save(wait=False)
    training.train(4)
    written.set()
    place = saver.finish()
    training.run.close()
    assert place is not None
    target = resuming.find_source(training.run.layout.root, "auto")
    assert target.checkpoint is not None
    found = dict(_tensors(target.checkpoint.part("model")))
    assert len(expected) == len(found)
    assert all(torch.equal(a, b) for a, b in zip(expected.values(), found.values(), strict=True))


def _tensors(value: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, f"{path}.{key}")


def test_a_second_save_never_overtakes_the_first(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one waits: nothing of it is captured or written while the first is written."""
    run, captured, go = training.run, [], threading.Event()
    saver = run._open.saves.saver
    original = HostCopy.capture

    def capture(host: HostCopy, files: Mapping[str, Tensors], late: Collection[str]) -> Any:
        captured.append(run.position.step)
        return original(host, files, late)

    monkeypatch.setattr(HostCopy, "capture", capture)
    monkeypatch.setattr(saver, "before_commit", lambda: go.wait(60))
    with recorded(run.layout.checkpoints.parent) as record:
        run.save(wait=False)
        training.train(3)
        second = threading.Thread(target=run.save)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert [2] == captured
        go.set()
        second.join(60)
    assert [2, 3] == captured
    steps = [3 if "00000003" in str(each) else 2 for each in record.calls if "step-" in str(each)]
    assert len(steps) > 40
    assert sorted(steps) == steps
    run.close()


def test_an_error_in_the_background_surfaces_at_the_next_step(
    training: Training, caplog: pytest.LogCaptureFixture
) -> None:
    """A background save that fails is said at the end of a step that follows, and training goes on."""
    training.run.due.every = 3
    logged = []
    with using(FaultyDisk(lambda call, _: 28 if call.kind == "create" else None)):
        for step in training.run.steps(6):
            training._train(step, None)
            saver = training.run._open.saves.saver
            assert saver is not None
            if step.number == 4 and saver._pending is not None:
                saver._pending.exception()  # waits: the error is there, and nobody has looked yet
            logged.append("SAVE FAILED" in caplog.text)
            if step.number == 5:
                break
    assert [False, False, True] == logged
    assert caplog.records[0].levelno == logging.WARNING
    assert "No space left" in caplog.text
    training.run.close()


def test_an_error_in_the_background_refuses_the_next_save(training: Training) -> None:
    """Handed over, the next save raises what went wrong in the one before; waited for, it tries anew."""
    with using(FaultyDisk(lambda call, _: 5 if call.kind == "sync" else None)):
        training.run.save(wait=False)
        saver = training.run._open.saves.saver
        assert saver is not None
        assert saver._pending is not None
        saver._pending.exception()
    training.train(3)
    with pytest.raises(SaveFailed):
        training.run.save(wait=False)
    training.run.save()
    found = resuming.find_source(training.run.layout.root, "auto").checkpoint
    assert found is not None
    assert 3 == found.position.step
    training.run.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="alarms of POSIX: runs on Linux")
def test_a_wait_that_is_interrupted_lets_no_later_save_into_its_memory(training: Training) -> None:
    """The save is still pending: saving again waits for it, and it is of its own instant."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def wait_a_moment(saver: Saver) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        saver.finish()

    saver = training.run._open.saves.saver
    assert saver is not None
    expected = {name: each.clone() for name, each in training.model.state_dict().items()}
    go = threading.Event()
    saver._thread.submit(go.wait, 60)
    place = training.run.save(wait=False)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_a_moment(saver)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert saver._pending is not None
    go.set()
    training.train(3)
    training.run.save()
    training.run.close()
    found = dict(_tensors(Checkpoint.at(place).part("model")))
    assert len(expected) == len(found)
    assert all(torch.equal(a, b) for a, b in zip(expected.values(), found.values(), strict=True))


class Growing:
    """A part whose state is text and numbers, not tensors."""

    def __init__(self) -> None:
        self.buffer = ""

    def state_dict(self) -> dict[str, str]:
        return {"buffer": self.buffer}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        self.buffer = state["buffer"]


def test_what_no_start_would_read_is_not_saved(tmp_path: Path) -> None:
    """A state whose JSON is larger than is read back fails by name; the last checkpoint stays."""
    growing = Growing()
    training = toy.build(tmp_path / "run", save_every=0, growing=growing)
    toy.train(training, 1)
    growing.buffer = "x" * MAX_DOCUMENT_BYTES
    toy.train_step(training, training.run.begin_step())
    with pytest.raises(SaveFailed, match=r"state\.json of a checkpoint would have 64\.0 MB"):
        training.run.save()
    training.run.close()
    assert ["step-00000001"] == [each.name for each in training.run.layout.checkpoints.iterdir()]


def test_a_save_between_backward_and_the_count_is_refused(tmp_path: Path) -> None:
    """Its gradients would hold a micro-batch that the next start trains again; before, and after, it saves."""
    training = toy.build(tmp_path / "run", save_every=0)
    step = training.run.begin_step()
    for number, micro in enumerate(step.micro_batches(2)):
        if number == 1:
            assert "+2" in training.run.save().name
        features, targets = (torch.stack(each) for each in zip(*map(toy.data, micro.indices)))  # noqa: B905  # pairs
        step.backward(((training.model(features) - targets) ** 2).sum())
        if number == 0:
            with pytest.raises(SaveFailed, match="after backward"):
                training.run.save()
    step.update()
    training.run.save()
    training.run.close()
    target = resuming.find_source(tmp_path / "run", "auto")
    assert target.checkpoint is not None
    assert (1, 0) == (target.checkpoint.position.step, target.checkpoint.position.samples)
