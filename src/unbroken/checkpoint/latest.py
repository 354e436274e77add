"""`latest`: the name of the newest checkpoint, for people and scripts; to a resume it is a hint."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from unbroken.checkpoint import disk

if TYPE_CHECKING:
    from unbroken.checkpoint.layout import Layout

_log = logging.getLogger("unbroken")


def name_latest(layout: Layout, name: str) -> None:
    """Write which checkpoint is the newest.

    A directory of that name is not ours: it is left alone and reported,
    and the checkpoint counts without the hint.

    Raises:
        OSError: The disk refused.
    """
    if layout.latest.is_dir() and not layout.latest.is_symlink():
        _log.warning(
            "%s is a directory, so it can't say that the newest checkpoint is %s. Nothing is lost: "
            "a resume doesn't need it. Move the directory away.",
            layout.latest,
            name,
        )
        return
    disk.replace_file(layout.latest, f"{name}\n".encode())
