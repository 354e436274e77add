"""Where the run lives, how it goes on, when it saves and stops."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from unbroken_tts.settings.declaration import AtLeastOne, Count, Group, NotNegative, setting


class CheckpointSettings(Group, title="Checkpoints and resuming"):
    """Where the run lives, how it goes on, when it saves and stops."""

    output_dir: Path = setting(
        "may change",
        "Directory of the run: checkpoints, journal and logs.",
        Path("trained_ckpts"),
        metavar="DIR",
    )
    resume: str = setting(
        "may change",
        "`auto` goes on with the run in --output-dir, or begins one where there is none; `latest` "
        "goes on and fails where there is none; a path goes on from that checkpoint. Without it a "
        "new run begins, and a run already there is moved to earlier/, never overwritten.",
        "",
        metavar="auto|latest|PATH",
    )
    save_interval: Count = setting(
        "may change",
        "Steps between checkpoints; 0 saves by time, at a stop and at the end only.",
        1000,
        metavar="N",
    )
    save_minutes: NotNegative = setting(
        "may change",
        "Minutes after which a checkpoint is due even if --save-interval isn't; 0 is never.",
        0.0,
        metavar="MIN",
    )
    keep_checkpoints: AtLeastOne = setting(
        "may change",
        "Newest checkpoints kept. An older one is deleted only after a newer one was verified.",
        3,
        metavar="N",
    )
    keep_every: Count = setting(
        "may change",
        "Also keep the checkpoints at multiples of so many steps; 0 keeps none for that.",
        0,
        metavar="N",
    )
    keep_best: bool = setting(
        "may change",
        "Also keep the checkpoint with the lowest validation loss.",
        default=True,
    )
    grace_seconds: NotNegative = setting(
        "may change",
        "Seconds there are between a stop request and the kill that follows it; a save must fit.",
        30.0,
        metavar="SEC",
    )
    max_lost_minutes: NotNegative = setting(
        "may change",
        "While saving fails (a full disk, a lost share) training goes on and tries again; when more "
        "minutes of work than this are at risk it ends with exit code 5.",
        60.0,
        metavar="MIN",
    )
    stop_file: Path | None = setting(
        "may change",
        "Save and stop with exit code 75 as soon as this file exists.",
        None,
        metavar="FILE",
    )
    on_nonfinite: Literal["stop", "skip"] = setting(
        "may change",
        "When a loss or gradient is not a finite number: stop before the update with exit code 6, "
        "or record the step, leave the update out and go on.",
        "stop",
    )
    on_critical: Literal["ask", "abort", "continue"] = setting(
        "may change",
        "When the checks of a resume find what would make it another training: `ask` counts down "
        "with a person at the terminal and refuses with exit code 3 where there is nobody; `abort` "
        "refuses at once; `continue` goes on with the saved values, where that can be done.",
        "ask",
    )
    on_diverged: Literal["stop", "continue"] = setting(
        "may change",
        "When a step that is repeated after a resume comes out otherwise than its journal says: "
        "stop with exit code 3 before anything newer is saved, or go on with the other training.",
        "stop",
    )
    abort_window: NotNegative = setting(
        "may change",
        "Seconds in which Ctrl+C ends a resume whose checks failed, before it goes on with the "
        "saved values.",
        10.0,
        metavar="SECONDS",
    )
    accept: tuple[str, ...] = setting(
        "may change",
        "Take a new value that the checks of a resume would refuse, by the id of the finding, from "
        "the next step on; it is recorded in the run's history. Repeatable.",
        (),
        metavar="ID",
    )
