"""A test for your own training: stopped anywhere and resumed, it is the training never stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbroken.errors import UnbrokenError
from unbroken.run.run import Run
from unbroken.run.step import Step
from unbroken.state.position import Position
from unbroken.testing.inventory import Inventory, InventoryItem

Train = Callable[[Path, int], Any]
"""`train(directory, until)` builds everything from scratch, trains, and returns what is alive."""

_SHOWN = 12
_LONGEST = 31  # shorter than a digest
_ABSENT = "is not there"


class _Interrupted(BaseException):
    """Ends a training as a kill would: nothing of it may be caught."""


class _Watched:
    """The runs that a training makes, and where they stand."""

    def __init__(self, stop_at: Position | None = None) -> None:
        self.stop_at = stop_at
        self.positions: list[Position] = []
        self.run: Run | None = None

    def at(self, run: Run) -> None:
        """Note a position where a run can be stopped; at the one that is wanted, save and end."""
        self.run = run
        self.positions.append(run.position)
        if run.position == self.stop_at:
            run.save()
            raise _Interrupted


def assert_resume_is_exact(train: Train, steps: int, *, ignore: Collection[str] = ()) -> None:
    """Stop a training at every micro-batch, resume it, and compare everything that is alive.

    Every module, optimiser, scheduler, tensor, array, generator, object with `state_dict` and plain
    value that can be reached from what `train` returned is compared bit by bit with the training
    that was never stopped, whether it was declared to `Run(...)` or not.

    A loop without `Run` is stopped after each step, by calling `train` with fewer steps.

    Args:
        train: `train(directory, until)` builds everything from scratch (model, data, run), trains until
            `until` steps are completed, and returns what is alive: `locals()`, or an object.
        steps: Steps to train; it is stopped once at each micro-batch of them, so few are enough.
        ignore: Names whose values may differ, with all below them: times, for instance.

    Raises:
        AssertionError: Something differs; it is named, with the line to add.
    """
    if steps < 2:
        raise ValueError(f"steps is {steps}: a training of one step can't be stopped between two")
    with tempfile.TemporaryDirectory() as root:
        whole = _Watched()
        expected = _inventory(_trained(train, Path(root, "whole"), steps, whole), whole)
        started = whole.positions[1:]  # at the first there is nothing to lose
        for number, position in enumerate(started):
            directory = Path(root, f"stopped-{number}")
            _stop(train, directory, steps, _Watched(position))
            _compare(train, directory, steps, expected, _where(position), ignore)
        for step in range(1, 0 if started else steps):
            directory = Path(root, f"stopped-{step}")
            _trained(train, directory, step, _Watched())
            _compare(train, directory, steps, expected, f"after step {step}", ignore)


def _where(position: Position) -> str:
    inside = f", {position.samples} samples into the next" if position.samples else ""
    return f"after step {position.step}{inside}"


def _stop(train: Train, directory: Path, steps: int, watched: _Watched) -> None:
    try:
        _trained(train, directory, steps, watched)
    except _Interrupted:
        assert watched.run is not None
        watched.run.close()
    else:
        raise AssertionError(
            f"The training did not reach {watched.stop_at} a second time: it depends on something "
            "that train() neither builds from scratch nor saves. Seed what it draws from."
        )


def _trained(train: Train, directory: Path, steps: int, watched: _Watched) -> Any:
    directory.mkdir(exist_ok=True)
    with _watching(watched):
        return train(directory, steps)


@contextmanager
def _watching(watched: _Watched) -> Iterator[None]:
    """Have every run say where it stands before a step and between two micro-batches."""
    begin_step, micro_batch_done = Run.begin_step, Run.micro_batch_done

    def begin(run: Run, *given: Any, **named: Any) -> Step:
        watched.at(run)
        return begin_step(run, *given, **named)

    def done(run: Run, samples: int, *, may_stop: bool = True) -> None:
        micro_batch_done(run, samples, may_stop=may_stop)
        is_last = run.position.samples >= len(run.inspector.order.at(run.position))
        if may_stop and not is_last and run.state.is_savable:
            watched.at(run)

    setattr(Run, begin_step.__name__, begin)
    setattr(Run, micro_batch_done.__name__, done)
    try:
        yield
    finally:
        setattr(Run, begin_step.__name__, begin_step)
        setattr(Run, micro_batch_done.__name__, micro_batch_done)


def _inventory(alive: Any, watched: _Watched) -> dict[str, InventoryItem]:
    named = alive if isinstance(alive, Mapping) else vars(alive)
    return Inventory(named, watched.run).items


def _compare(train: Train, directory: Path, steps: int, expected: Mapping[str, InventoryItem], where: str,
    ignore: Collection[str]) -> None:  # fmt: skip
    """Resume, and compare what is then alive with what should be.

    Raises:
        AssertionError: Something differs, or the resume was refused.
    """
    try:
        watched = _Watched()
        found = _inventory(_trained(train, directory, steps, watched), watched)
    except UnbrokenError as error:
        raise AssertionError(f"Stopped {where}, it does not resume.\n{error}") from error
    named = [
        path
        for path in expected.keys() | found.keys()
        if _content(expected, path) != _content(found, path) and not _is_ignored(path, ignore)
    ]
    if named:
        order = [path for path in expected if path in named]
        order += sorted(set(named) - set(order))
        raise AssertionError(_message(order, expected, found, where))


def _content(items: Mapping[str, InventoryItem], path: str) -> tuple[str, str] | None:
    item = items.get(path)
    return None if item is None else (item.kind, item.content)


def _is_ignored(path: str, ignore: Collection[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in ignore)


def _message(
    differing: list[str],
    expected: Mapping[str, InventoryItem],
    found: Mapping[str, InventoryItem],
    where: str,
) -> str:
    lines = [f"Stopped {where} and resumed, it is not the training that was never stopped:"]
    by_advice: dict[str, list[str]] = {}
    items = {path: expected.get(path) or found[path] for path in differing}
    is_forgotten = any(_is_forgotten(item) for item in items.values())
    for path, item in sorted(items.items(), key=lambda each: not _is_forgotten(each[1])):
        by_advice.setdefault(_advice(path, item, follows=is_forgotten), []).append(
            f"  {path} ({item.kind}): {_shown(found.get(path))}, should be "
            f"{_shown(expected.get(path))}"
        )
    for advice, paths in by_advice.items():
        lines += paths[:_SHOWN]
        if len(paths) > _SHOWN:
            lines.append(f"  … and {len(paths) - _SHOWN} more")
        lines.append(f"    -> {advice}")
    return "\n".join(lines)


def _is_forgotten(item: InventoryItem) -> bool:
    """Say whether no part saves a value."""
    return not item.part or bool(item.line)


def _advice(path: str, item: InventoryItem, *, follows: bool) -> str:
    """Return the line to add, or what else to do about a value that was lost.

    A declared part that differs beside something forgotten has most likely been trained by it.
    """
    if item.part and item.line:
        return f"part {item.part!r} is declared, but does not save this:  {item.line}"
    if item.part and follows:
        return f"part {item.part!r} is declared: correct what is listed above first, this may follow from it"
    if item.part:
        return f"part {item.part!r} saves this, but it is overwritten after resume()"
    if item.owner:
        name = item.owner.rpartition(".")[2]
        name = name if name.isidentifier() else "part"
        return f"add to Run(...):  {name}={item.owner},"
    root = path.partition(".")[0]
    return (
        f"add to Run(...):  {root}={root},  after giving it state_dict() and load_state_dict(); or "
        f"derive it from run.position; or, where it decides nothing, ignore=[{root!r}]"
    )


def _shown(item: InventoryItem | None) -> str:
    if item is None:
        return _ABSENT
    return item.content if len(item.content) <= _LONGEST else f"{item.content[:12]}…"
