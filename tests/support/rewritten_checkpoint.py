"""A checkpoint as a foreign tool may have left it: whole, with right digests, but with other content."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unbroken.checkpoint.commit import commit
from unbroken.checkpoint.file_image import HostCopy
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.snapshot import Snapshot, copy_to_host

Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""`change(parts, evidence)` changes both in place."""


def rewrite(checkpoint: Path, change: Change, *, updates: int = 0) -> None:
    """Write a checkpoint anew, in its own place, with other content.

    Args:
        checkpoint: Its directory.
        change: What is done to it.
        updates: Added to the updates that its position counts.
    """
    old = Checkpoint.at(checkpoint)
    parts, evidence = old.parts(), dict(old.evidence())
    change(parts, evidence)
    new = Snapshot(
        run_id=old.manifest.run_id,
        start=old.manifest.start,
        position=replace(old.position, updates=old.position.updates + updates),
        parts=parts,
        facts=old.facts(),
        evidence=evidence,
        metrics=dict(old.manifest.metrics),
    )
    copied = copy_to_host(new, HostCopy())
    shutil.rmtree(checkpoint)
    commit(Layout(checkpoint.parent.parent), copied)
