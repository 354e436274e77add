"""Is there a run of the earlier trainer to take over? Only where no run of this one goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from unbroken import (
    DataInvalid,
    ResumeRefused,
    RunDirectory,
    SettingsInvalid,
    find_source,
)
from unbroken_tts.rescue.old_checkpoint import OldCheckpoint, read_old
from unbroken_tts.rescue.old_directory import old_files
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.old_settings import RESCUED

UNFINISHED: Final = "rescue-unfinished"
"""The file that marks a directory whose rescue has no checkpoint yet; it names the old directory."""


def place_of_old_run(
    settings: TrainSettings, old: Path | None, *, is_dry_run: bool = False
) -> Path | None:
    """Return where the files to take over lie; None where a run of this trainer begins or goes on.

    Args:
        settings: The settings of this start.
        old: What `rescue` named; None for `train`, which looks into --output-dir.
        is_dry_run: Whether it is only to be told what the old files are.

    Raises:
        ResumeRefused: A run of this trainer is there, and the earlier one has trained on since.
        SettingsInvalid: --output-dir holds another run than that of the old files.
    """
    if old is not None and is_dry_run:
        return old
    output = settings.output_dir
    place = old or output
    if settings.resume not in {"auto", "latest"}:
        return None
    if old is None and not old_files(output):
        _require_finished(output)
        return None
    facts = _facts_of_run(output)
    if facts is None:
        return place
    if old is not None:
        _require_taken_over_from(old, output, facts)
    if settings.resume == "auto":
        _require_no_newer(output, facts)
    return None


def _require_finished(output: Path) -> None:
    """Refuse to begin at step 0 where a rescue ended before its checkpoint was saved."""
    mark = output / UNFINISHED
    if not mark.is_file() or _facts_of_run(output) is not None:
        return
    old = mark.read_text(encoding="utf-8", errors="replace").strip()
    raise ResumeRefused(
        f"{output} holds a rescue of {old} that ended before its checkpoint was saved.",
        "Training would begin at step 0, and what the old run had learnt would be missing.",
        f"Repeat the rescue: unbroken-tts rescue {old} --output-dir {output}, with its flags. To begin "
        f"anew, delete {mark}.",
    )


def _facts_of_run(output: Path) -> Mapping[str, Any] | None:
    """Return the facts of the run in a directory; None for no run, or one that never came to be.

    A rescue that was killed before its checkpoint was saved leaves a run without a step: it is moved
    to earlier/ and made anew from the old files, and never begun again at step 0.
    """
    if RunDirectory(output).run_id is None:
        return None
    source = find_source(output, "auto")
    if source.checkpoint is None and not source.has_trained:
        return None
    return source.facts() or {}


def _require_taken_over_from(old: Path, output: Path, facts: Mapping[str, Any]) -> None:
    there = facts.get(RESCUED, {}).get("directory")
    directory = old.parent if old.is_file() else old
    if there == directory.resolve().as_posix() or directory.resolve() == output.resolve():
        return
    raise SettingsInvalid(
        f"{output} holds a run that was not taken over from {old}.",
        "Two runs in one directory would be taken for one.",
        "Name another --output-dir. To continue the run that is there, use `unbroken-tts train "
        "--resume auto`.",
    )


def _require_no_newer(output: Path, facts: Mapping[str, Any]) -> None:
    """Refuse to choose where the earlier trainer trained on after its run was taken over."""
    rescued = facts.get(RESCUED)
    if rescued is None:
        return
    places = {output.resolve(), Path(rescued["directory"])}
    newer = [each for place in places for each in _newer_in(place, rescued)]
    if not newer:
        return
    newest = max(newer, key=lambda each: each.step)
    raise ResumeRefused(
        f"{output} holds a run that was taken over at step {rescued['step']} of the earlier trainer, "
        f"and {newest.path}, which is newer: step {newest.step}.",
        "Either of the two can go on, but not both, and only you know which one is meant.",
        "To continue the run of this trainer, use --resume latest. To take the newer file over, use "
        f"`unbroken-tts rescue {newest.path} --output-dir NEW_DIRECTORY`.",
    )


def _newer_in(place: Path, rescued: Mapping[str, Any]) -> list[OldCheckpoint]:
    """Return the files of a later step; by their counters, since a copy has the time of copying."""
    found = []
    for path in old_files(place):
        with suppress(DataInvalid):  # a damaged file is no reason to stop a run of this trainer
            read = read_old(path)
            if read.step > rescued["step"]:
                found.append(read)
    return found
