"""The errors of calls that come at the wrong time."""

from __future__ import annotations

from unbroken.errors import RunMisused


def not_resumed() -> RunMisused:
    """Return the error of a call before `run.resume()`."""
    return RunMisused(
        "This run was not resumed: run.resume() comes before the first step.",
        "Only then is it known where it stands, and is its directory this process's.",
        'Call run.resume("auto") once all objects are built; it also begins a new run.',
    )


def closed() -> RunMisused:
    """Return the error of a call after `run.close()`."""
    return RunMisused(
        "This run was closed by run.close().",
        "Its directory was given back and may be another process's; nothing more can be saved.",
        "Call run.close() after the last step, or make a new Run(...) and resume it.",
    )


def can_not_train() -> RunMisused:
    """Return the error of a step with objects that a failed resume has left."""
    return RunMisused(
        "The resume of this run failed after its objects were changed: they can't train.",
        "They hold a part of the saved state, or what something else made of it.",
        "Build model and optimizer anew, make a new Run(...) of them and resume it.",
    )
