"""Where the run lives, how it goes on, when it saves and stops."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from unbroken_tts.settings.declaration import AtLeastOne, Count, Group, NotNegative, setting


class CheckpointSettings(Group, title="Checkpoints and resuming"):
    """The run's directory, how to resume, when to save and to stop."""

    output_dir: Path = setting(
        "may change",
        "Directory of the run: checkpoints, journal and logs.",
        Path("trained_ckpts"),
        metavar="DIR",
    )
    resume: str = setting(
        "may change",
        "`auto` continues the run in --output-dir, or begins one if there is none; `latest` "
        "continues it and fails if there is none; a path continues from that checkpoint. Without "
        "--resume a new run begins; an existing run is moved to earlier/, never overwritten.",
        "",
        metavar="auto|latest|PATH",
    )
    save_interval: Count = setting(
        "may change",
        "Steps between checkpoints; 0 saves only by time, at a stop and at the end.",
        1000,
        metavar="N",
    )
    save_minutes: NotNegative = setting(
        "may change",
        "Also save after this many minutes; 0 disables it.",
        0.0,
        metavar="MIN",
    )
    keep_checkpoints: AtLeastOne = setting(
        "may change",
        "Number of newest checkpoints to keep. An older one is deleted only after a newer one was "
        "verified.",
        3,
        metavar="N",
    )
    keep_every: Count = setting(
        "may change",
        "Also keep checkpoints at multiples of N steps; 0 disables it.",
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
        "Seconds between a stop request and the kill that follows it; a save must fit into them.",
        30.0,
        metavar="SEC",
    )
    max_lost_minutes: NotNegative = setting(
        "may change",
        "If saving fails (a full disk, a lost network share), training continues and the save is "
        "retried; when more minutes of work than this are at risk, it ends with exit code 5.",
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
        "When a loss or gradient is not finite: `stop` ends before the update with exit code 6; "
        "`skip` records the step, skips its update and continues.",
        "stop",
    )
    on_critical: Literal["ask", "abort", "continue"] = setting(
        "may change",
        "When a resume has a critical finding: `ask` counts down at a terminal, and without one "
        "refuses with exit code 3; `abort` refuses at once; `continue` continues with the saved "
        "values, if that is possible.",
        "ask",
    )
    on_diverged: Literal["stop", "continue"] = setting(
        "may change",
        "When a step that is repeated after a resume differs from its line in the journal: `stop` "
        "ends with exit code 3 before anything newer is saved; `continue` continues the training.",
        "stop",
    )
    abort_window: NotNegative = setting(
        "may change",
        "Seconds in which Ctrl+C aborts a resume with a critical finding, before it continues with "
        "the saved values.",
        10.0,
        metavar="SECONDS",
    )
    accept: tuple[str, ...] = setting(
        "may change",
        "Accept the new value of a finding, by its id: it is used from the next step on and "
        "recorded in the run's history. Repeatable.",
        (),
        metavar="ID",
    )
