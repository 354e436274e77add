"""Reads manifests, which list the content of a checkpoint with digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unbroken.checkpoint.document import MAX_DOCUMENT_BYTES
from unbroken.checkpoint.formats import CLOSED, KNOWN, Manifest, NotTiled
from unbroken.checkpoint.layout import FILE_NAME, MANIFEST
from unbroken.checkpoint.verify import unreadable
from unbroken.errors import CheckpointCorrupt, CheckpointOfLaterVersion
from unbroken.state.digest import bytes_digest


def read_manifest(checkpoint: Path) -> Manifest:
    """Read and validate the manifest of a checkpoint directory.

    Raises:
        CheckpointOfLaterVersion: It is valid, but its format isn't known here.
        CheckpointUnreadable: The system can't read it.
        CheckpointCorrupt: It is missing, damaged, names foreign files, or contradicts itself.
    """
    path = checkpoint / MANIFEST
    try:
        manifest = _validated(checkpoint, json.loads(_body(checkpoint, _bytes_of(path))))
        _ = manifest.segments
    except FileNotFoundError as error:
        raise _unusable(
            checkpoint, f"{MANIFEST} is missing: its save never finished, or the file was lost"
        ) from error
    except OSError as error:
        raise unreadable(checkpoint, str(error)) from error
    except NotTiled as error:
        raise _unusable(checkpoint, f"its manifest contradicts itself: {error}") from error
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        raise _unusable(
            checkpoint, f"its manifest can't be read ({type(error).__name__})"
        ) from error
    for name in manifest.files:
        if not FILE_NAME.fullmatch(name) or name == MANIFEST:
            raise _unusable(checkpoint, f"its manifest names the file {name!r}")
    return manifest


def _body(checkpoint: Path, raw: bytes) -> bytes:
    form = CLOSED.fullmatch(raw)
    if form is None:
        raise _unusable(checkpoint, "its manifest is not formatted as it was written")
    if form[1].decode() != bytes_digest(form[2]):
        raise _unusable(checkpoint, "its manifest does not match its own digest")
    return form[2]


def _validated(checkpoint: Path, found: Any) -> Manifest:
    if not isinstance(found, dict):
        raise _unusable(checkpoint, "its manifest is not an object")
    known = KNOWN.get(repr(found.get("format")))
    if known is None:
        raise _of_later_version(checkpoint, found.get("format"))
    return known.model_validate(found)


def _bytes_of(path: Path) -> bytes:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise _unusable(path.parent, "its manifest is not a regular file")
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise _unusable(path.parent, "its manifest is larger than any manifest")
    return path.read_bytes()


def _unusable(checkpoint: Path, what: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"Checkpoint {checkpoint} can't be used: {what}.",
        "A run can only continue from a checkpoint that is verified.",
        'Resume with "auto", which takes the newest checkpoint that is not damaged.',
    )


def _of_later_version(checkpoint: Path, version: Any) -> CheckpointOfLaterVersion:
    return CheckpointOfLaterVersion(
        f"Checkpoint {checkpoint} has format {version!r:.40}; this version knows "
        f"{', '.join(KNOWN)}.",
        "Another version of this program wrote it; it is not damaged.",
        "Use the version that wrote it, or a newer one.",
    )
