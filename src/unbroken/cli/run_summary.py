"""What the directory of a run tells of it as a whole: which run, since when, how far, and how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken.counts import counted
from unbroken.errors import UnbrokenError

if TYPE_CHECKING:
    from unbroken.checkpoint.layout import Layout

TAIL: Final = 1 << 16
"""Bytes at the end of a journal in which its last line is looked for."""


def run_summary(layout: Layout, checkpoints: Sequence[Path]) -> dict[str, Any] | None:
    """Return it; None for a directory that holds checkpoints and no run.

    Args:
        layout: The run's directory.
        checkpoints: Its checkpoints, oldest position first.
    """
    import json

    from unbroken.checkpoint.layout import place_in_name
    from unbroken.checkpoint.run_directory import run_id_of
    from unbroken.journal.journal import read_lines

    try:
        run_id = run_id_of(layout)
    except UnbrokenError as error:
        return {"problem": error.what}
    if run_id is None:
        return None
    created = json.loads(layout.run_file.read_bytes()).get("created")
    history = list(read_lines(layout.history))
    newest = place_in_name(checkpoints[-1].name)
    return {
        "run_id": run_id,
        "created": created if isinstance(created, float) else None,
        "starts": sum(each.get("event") == "start" for each in history),
        "checkpoints": len(checkpoints),
        "newest_step": None if newest is None else newest[0],
        "last_step": _last_step(layout),
        "state": _state(layout, history),
    }


def shown_lines(said: Mapping[str, Any]) -> list[str]:
    """Return the summary, a line each."""
    from unbroken.cli.figures import shown, time_text

    if "problem" in said:
        return [f"run            {said['problem']}"]
    began = "" if said["created"] is None else f", begun {time_text(said['created'])}"
    last = said["last_step"]
    beyond = last - said["newest_step"] if last is not None else 0
    ahead = f"; the journal has {counted(beyond, 'step')} more" if beyond > 0 else ""
    return [
        f"run            {shown(said['run_id'])}{began}, {counted(said['starts'], 'start')}",
        f"state          {said['state']}",
        f"checkpoints    {said['checkpoints']}, the newest of step {said['newest_step']:,}{ahead}",
    ]


def _last_step(layout: Layout) -> int | None:
    """Return the step of the journal's last line."""
    from unbroken.journal.journal import read_lines

    size = layout.journal.stat().st_size if layout.journal.is_file() else 0
    steps = [each.get("step") for each in read_lines(layout.journal, max(0, size - TAIL))]
    return next((each for each in reversed(steps) if isinstance(each, int)), None)


def _state(layout: Layout, history: Iterable[Mapping[str, Any]]) -> str:
    """Say whether a process writes to the run, and how the last start ended."""
    from unbroken.checkpoint.lock import read_owner, require_free
    from unbroken.errors import DirectoryInUse

    try:
        require_free(layout)
    except DirectoryInUse:
        owner = read_owner(layout)
        return f"in use by {owner}" if owner else "in use by another process"
    except OSError:  # a lock that may not be looked at: what the history says has to do
        pass
    of_last: dict[str, Mapping[str, Any]] = {}
    for each in history:
        if each.get("event") == "start":
            of_last = {}
        of_last[str(each.get("event"))] = each
    return _end_of(of_last)


def _end_of(last: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how a start ended, by the last line of each event that it noted."""
    if "stop" in last:
        reason, step = (last["stop"].get(each) for each in ("reason", "step"))
        return f"stopped at step {step} ({reason}); the next start goes on"
    if "closed" not in last:
        return "the last start noted no end, as after a kill; the next one goes on"
    error, step = (last["closed"].get(each) for each in ("error", "step"))
    if error is not None:
        return f"the last start ended at step {step} with {error}; the next one goes on"
    if last["closed"].get("finished"):
        return f"finished at step {step}"
    return f"closed at step {step}"
