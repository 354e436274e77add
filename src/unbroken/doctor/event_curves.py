"""Reads curves from TensorBoard's event files, by process, with TensorBoard's own reader.

TensorBoard is optional: it is only imported if there are such files.
"""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken.errors import SettingsInvalid

FILES = "*tfevents*"
"""Names of event files, at any depth."""

LOSSES = ("train/loss", "train/text_loss", "train/mel_loss")
"""Tags of losses, of this trainer and the earlier one."""
RATE = "train/lr"
GRADIENT = "train/grad_norm"
TAGS = (*LOSSES, RATE, GRADIENT)

Report = Callable[[int, int], None]


@dataclass(slots=True)
class Series:
    """Points of one curve, in the order they were written."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        """Add a point."""
        self.steps.append(step)
        self.values.append(value)

    def points(self) -> dict[int, float]:
        """Return the value of each step; for a repeated step, the last."""
        return dict(zip(self.steps, self.values, strict=True))


@dataclass(slots=True)
class Drawn:
    """The points of one event file, written by one process."""

    path: Path
    began: float
    """Time of its first event, seconds since 1970, UTC."""
    ended: float
    """Time of its last event."""
    series: dict[str, Series] = field(default_factory=dict)
    """The points by tag; only tags in `TAGS`."""

    @property
    def first(self) -> int:
        """The first step that has a point."""
        return min(each.steps[0] for each in self.series.values())

    @property
    def last(self) -> int:
        """The last step that has a point."""
        return max(each.steps[-1] for each in self.series.values())


def event_files(path: Path) -> list[Path]:
    """Return the event files of a path: itself, or those below it."""
    if path.is_file():
        return [path]
    places = [path / "logs"] if (path / "logs").is_dir() else [path]
    return sorted(each for place in places for each in place.rglob(FILES) if each.is_file())


def read_drawn(
    paths: list[Path], report: Report = lambda _done, _total: None
) -> tuple[list[Drawn], list[str]]:
    """Return the points of each file, ordered by time, and the names of files without a point.

    Args:
        paths: Event files; a torn one is read up to the damage.
        report: Called with bytes read.

    Raises:
        SettingsInvalid: TensorBoard is not installed.
    """
    loader = _loader()
    total, done, found, empty = sum(each.stat().st_size for each in paths), 0, [], []
    for path in paths:
        drawn = _drawn(path, loader)
        done += path.stat().st_size
        report(done, total)
        if drawn is None:
            empty.append(path.name)
        else:
            found.append(drawn)
    return sorted(found, key=lambda each: each.began), empty


def _drawn(path: Path, loader: Any) -> Drawn | None:
    drawn = None
    for event in _events(path, loader):
        if drawn is None:
            drawn = Drawn(path, event.wall_time, event.wall_time)
        drawn.ended = max(drawn.ended, event.wall_time)
        for each in event.summary.value:
            if each.tag in TAGS and (value := _scalar(each)) is not None:
                drawn.series.setdefault(each.tag, Series()).add(int(event.step), value)
    return drawn if drawn is not None and drawn.series else None


def _events(path: Path, loader: Any) -> Iterator[Any]:
    try:
        yield from loader(str(path)).Load()
    except Exception:  # noqa: BLE001 -- TensorBoard and protobuf raise many kinds on damaged bytes
        return


def _scalar(value: Any) -> float | None:
    """Return the value of a summary, which TensorBoard's reader returns as a tensor."""
    tensor = value.tensor
    for numbers in (tensor.float_val, tensor.double_val):
        if len(numbers) == 1:
            return float(numbers[0])
    if value.HasField("simple_value"):
        return float(value.simple_value)
    return None


def _loader() -> Any:
    try:
        module = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
    except ModuleNotFoundError as error:
        raise SettingsInvalid(
            f"The TensorBoard files can't be read: the Python package '{error.name}' is missing.",
            "There is no journal here, so these curves are the only record.",
            "Install it: python -m pip install tensorboard",
        ) from error
    return module.EventFileLoader
