"""How a run of the earlier trainer goes on."""

from __future__ import annotations

from typing import Literal

from unbroken_tts.settings.declaration import Group, setting


class OldRunSettings(Group, title="Runs of the earlier trainer"):
    """What to do where the directory holds files of the earlier trainer, and no run of this one."""

    rescue_position: Literal["next-epoch", "restart-epoch", "count"] = setting(
        "may change",
        "Where an old run that stopped inside an epoch goes on: `next-epoch` leaves the rest of "
        "that epoch out, `restart-epoch` trains all of it again, `count` skips as many samples as "
        "were used, which repeats some and leaves out others: the old file doesn't say which.",
        "next-epoch",
    )
    restore_base_rows: bool = setting(
        "may change",
        "When an old run is taken over, make the frozen rows those of --base-checkpoint again; the "
        "earlier trainer let them decay.",
        default=False,
    )
