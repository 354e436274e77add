"""What the start that saved a checkpoint told of state that the checkpoint does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from unbroken.audit.self_audit import UNSAVED
from unbroken.journal.journal import read_lines
from unbroken.run.source import ResumeSource

_SHOWN: Final = 3


def told_unsaved(source: ResumeSource) -> list[str]:
    """Return the paths that the saving start listed; none where nothing is resumed or was listed."""
    if source.checkpoint is None:
        return []
    by = source.checkpoint.manifest.start
    lines = [
        each
        for each in read_lines(source.layout.history)
        if each.get("event") == UNSAVED and each.get("start") == by
    ]
    found = [one for each in lines for one in each.get("found", []) if isinstance(one, dict)]
    return list(dict.fromkeys(str(one.get("path")) for one in found))


def note_of(paths: Sequence[str]) -> str:
    """Return what a resume says of them."""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return (
        f"WARNING: the checkpoint does not hold {', '.join(paths[:_SHOWN])}{more}, which changed while "
        "the start that saved it trained: unless they are saved in the meantime, this is another training"
    )
