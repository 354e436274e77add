"""`latest`: the name of the newest checkpoint, for users and scripts; for a resume only a hint."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from unbroken.checkpoint import disk

if TYPE_CHECKING:
    from unbroken.checkpoint.layout import Layout

_log = logging.getLogger("unbroken")


def name_latest(layout: Layout, name: str) -> None:
    """Write the name of the newest checkpoint.

    A directory called `latest` is left alone and reported; the checkpoint is valid without the hint.

    Raises:
        OSError: The disk can't be written.
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
