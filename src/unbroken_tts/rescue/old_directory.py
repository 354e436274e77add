"""The files of the earlier trainer in a directory, and the best whole one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unbroken import DataInvalid, NoUsableCheckpoint, SettingsInvalid
from unbroken_tts.rescue.old_checkpoint import LATEST, STEP_NAME, OldCheckpoint, read_old
from unbroken_tts.rescue.whole import WholeCheckpoint, require_whole

if TYPE_CHECKING:
    from pathlib import Path

    from unbroken_tts.model.config import GptConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A file that can't be gone on from."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRun:
    """A run of the earlier trainer: the file to go on from, and the others."""

    best: WholeCheckpoint
    readable: tuple[OldCheckpoint, ...]
    """All files whose counters could be read, oldest step first; tensors may be damaged."""
    damaged: tuple[Damaged, ...]
    """Files that were skipped, with the reason."""


def old_files(place: Path) -> list[Path]:
    """Return the files of the earlier trainer in a directory, or the one that is named."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        return []
    found = [
        each
        for each in place.iterdir()
        if each.is_file() and (each.name == LATEST or STEP_NAME.fullmatch(each.name))
    ]
    return sorted(found)


def require_old_files(place: Path) -> None:
    """Look for files of the earlier trainer, before anything is read or made.

    Raises:
        NoUsableCheckpoint: There is none.
    """
    if not old_files(place):
        raise _none_whole(place, [])


def find_best(place: Path, config: GptConfig, vocabulary: int) -> OldRun:
    """Find the newest step that reads completely; nothing is changed.

    Of two files of the same step `latest.pth` is taken: only it says how its steps were cut.

    Args:
        place: The directory, or one file.
        config: Of the model.
        vocabulary: Pieces of the tokenizer.

    Raises:
        NoUsableCheckpoint: None is whole; each is named with the reason.
        SettingsInvalid: None is whole, and one belongs to another configuration or tokenizer.
    """
    damaged: list[Damaged] = []
    readable: list[OldCheckpoint] = []
    for path in old_files(place):
        try:
            readable.append(read_old(path))
        except DataInvalid as error:
            damaged.append(Damaged(path=path, why=error.what))
    unfit: list[SettingsInvalid] = []
    readable.sort(key=lambda each: (each.step, each.geometry is not None))
    for old in reversed(readable):
        try:
            best = require_whole(old, config, vocabulary)
        except SettingsInvalid as error:
            unfit.append(error)
            damaged.append(Damaged(path=old.path, why=error.what))
        except DataInvalid as error:
            damaged.append(Damaged(path=old.path, why=error.what))
        else:
            return OldRun(best=best, readable=tuple(readable), damaged=tuple(damaged))
    raise unfit[0] if unfit else _none_whole(place, damaged)


def _none_whole(place: Path, damaged: list[Damaged]) -> NoUsableCheckpoint:
    if not damaged:
        return NoUsableCheckpoint(
            f"{place} has no latest.pth and no model_step{{N}}.pth.",
            "There is no run of the earlier trainer to go on from.",
            "Name the output directory of the earlier trainer, or one of these files.",
        )
    listed = "\n".join(f"  {each.why}" for each in damaged)
    return NoUsableCheckpoint(
        f"None of the earlier trainer's {len(damaged)} files in {place} can be gone on from:\n{listed}",
        "A damaged or foreign file would bring another training, and no code in one is ever run.",
        "Bring an intact copy of one of them back. With none, begin a new run from a gpt.pth: "
        "--base-checkpoint gpt.pth --output-dir NEW_DIRECTORY (without --resume).",
    )
