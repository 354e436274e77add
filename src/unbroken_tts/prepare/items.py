"""Selects the usable recordings, and reports the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbroken import DataInvalid
from unbroken_tts.prepare.audio import read_header
from unbroken_tts.prepare.fronts import DEFAULT, front_end
from unbroken_tts.prepare.sources import RecordingFault, Utterance
from unbroken_tts.progress import Progress

_FAULTS_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableUtterance:
    """An utterance whose header and text are usable."""

    utterance: Utterance
    """The utterance, from the source."""
    text: str
    """Normalised."""
    seconds: float
    """Duration, by the header of the file."""


def looked_at(
    utterances: Sequence[Utterance], progress: Progress, front: str = DEFAULT
) -> tuple[list[UsableUtterance], list[RecordingFault]]:
    """Read the header of every recording and normalise every text.

    Args:
        utterances: The utterances of the source.
        progress: Called with (utterances done, utterances in total).
        front: The text front end.

    Returns:
            The usable utterances, and the faults of the others.
    """
    items, faults = [], []
    for done, utterance in enumerate(utterances, start=1):
        try:
            header = read_header(utterance.audio)
            text = front_end(utterance.text, utterance.language, front)
        except DataInvalid as error:
            faults.append(RecordingFault(where=utterance.where, id=utterance.id, what=error.what))
        else:
            items.append(UsableUtterance(utterance=utterance, text=text, seconds=header.seconds))
        progress(done, len(utterances))
    return items, faults


def stop_at(faults: Sequence[RecordingFault]) -> None:
    """Report all unusable recordings at once.

    Raises:
        DataInvalid: There are any.
    """
    if not faults:
        return
    shown = [f"  {fault.where}: {fault.what}" for fault in faults[:_FAULTS_SHOWN]]
    if len(faults) > _FAULTS_SHOWN:
        shown.append(f"  and {len(faults) - _FAULTS_SHOWN} more")
    raise DataInvalid(
        "\n".join([f"{len(faults)} recordings can't be used:", *shown]),
        "No manifest was written, so that no recording is silently omitted.",
        "Correct them and repeat the command (finished work is kept), or add --on-bad drop.",
    )


def nothing_left(faults: Sequence[RecordingFault]) -> DataInvalid:
    """Return the error for a source without a usable recording."""
    first = f" The first: {faults[0].where}: {faults[0].what}" if faults else ""
    return DataInvalid(
        f"None of the {len(faults)} recordings can be used.{first}",
        "There is nothing to prepare.",
        "Check the paths in the list, or name the directory with --audio-dir.",
    )
