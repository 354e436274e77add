"""The manifest: what a checkpoint consists of, with a digest for everything, written last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unbroken.checkpoint.layout import FILE_NAME, MANIFEST
from unbroken.checkpoint.verify import unreadable
from unbroken.errors import CheckpointCorrupt, CheckpointOfLaterVersion

FORMAT: Literal[1] = 1
"""Version of the checkpoint format; readers refuse ones they don't know."""

MAX_MANIFEST_BYTES = 64_000_000

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Strict):
    """One file of the checkpoint."""

    size: Count
    """Bytes."""
    digest: Digest
    """XXH3-128 of the bytes."""


class LeafEntry(_Strict):
    """One tensor of the state."""

    file: str
    dtype: str
    shape: list[Count]
    digest: Digest
    """XXH3-128 of the captured bytes, row-major."""


class Manifest(_Strict):
    """What a checkpoint consists of."""

    format: Literal[1]
    run_id: str
    start: Count
    """Which start of the process wrote it, from 1."""
    created: float
    """Seconds since 1970, UTC."""
    position: dict[str, Count]
    metrics: dict[str, float]
    """Scores measured at this position, such as `val_loss`; lower is better."""
    verified_from: Literal["device", "cache"] = "cache"
    """Whether the files were read back from the device after writing, or from the system's cache."""
    files: dict[str, FileEntry]
    leaves: dict[str, LeafEntry]

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, closed by a digest over itself."""
        return _closed(self.model_dump())


def _closed(content: dict[str, Any]) -> bytes:
    """Return the one form in which a manifest of this content is written."""
    body = json.dumps(content, indent=1, sort_keys=True)
    digest = xxhash.xxh3_128_hexdigest(body.encode())
    return f'{{"digest": "{digest}",\n"manifest": {body}}}\n'.encode()


def read_manifest(checkpoint: Path) -> Manifest:
    """Read and check the manifest of a checkpoint directory.

    Raises:
        CheckpointOfLaterVersion: It is whole, but its format isn't known here.
        CheckpointUnreadable: The system can't read it.
        CheckpointCorrupt: It is missing, damaged, or names foreign files.
    """
    path = checkpoint / MANIFEST
    try:
        raw = _bytes_of(path)
        content = json.loads(raw)
        found: Any = content["manifest"]
        body = json.dumps(found, indent=1, sort_keys=True).encode()
        if content["digest"] != xxhash.xxh3_128_hexdigest(body):
            raise _unusable(checkpoint, "its manifest does not match its own digest")
        if isinstance(found, dict) and repr(found.get("format")) != repr(FORMAT):
            raise _of_later_version(checkpoint, found.get("format"))
        manifest = Manifest.model_validate(found)
        if _closed(found) != raw:
            raise _unusable(checkpoint, "its manifest is not in the form it was written in")
    except FileNotFoundError as error:
        raise _unusable(checkpoint, f"{MANIFEST} is missing, so its save never finished") from error
    except OSError as error:
        raise unreadable(checkpoint, str(error)) from error
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        raise _unusable(
            checkpoint, f"its manifest can't be read ({type(error).__name__})"
        ) from error
    for name in manifest.files:
        if not FILE_NAME.fullmatch(name) or name == MANIFEST:
            raise _unusable(checkpoint, f"its manifest names the file {name!r}")
    return manifest


def _bytes_of(path: Path) -> bytes:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise _unusable(path.parent, "its manifest is not a plain file")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise _unusable(path.parent, "its manifest is absurdly large")
    return path.read_bytes()


def _unusable(checkpoint: Path, what: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"Checkpoint {checkpoint} can't be used: {what}.",
        "Only a checkpoint that is proved whole can be continued from.",
        "Resume with --resume auto, which takes the newest one that is whole.",
    )


def _of_later_version(checkpoint: Path, version: Any) -> CheckpointOfLaterVersion:
    return CheckpointOfLaterVersion(
        f"Checkpoint {checkpoint} has format {version!r:.40}; this version knows {FORMAT}.",
        "It was written by another version of this program, and nothing is wrong with it.",
        "Use the version that wrote it, or a newer one.",
    )
