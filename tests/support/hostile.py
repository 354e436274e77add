"""What crafted checkpoints are made with, and what is watched while they are read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import xxhash

from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import UnbrokenError
from unbroken.run import resume as resuming

MOST_MEMORY = 64 << 20
"""Bytes that reading a crafted checkpoint of a few kilobytes may take."""

_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _watching[-1].append(os.fsdecode(arguments[0]))
    elif event in (
        "os.system",
        "subprocess.Popen",
        "pickle.find_class",
        "os.exec",
        "socket.connect",
    ):
        _watching[-1].append(f"!{event}")


@cache
def _listen() -> None:
    """Put the hook in, once: it can't be taken away again."""
    sys.addaudithook(_audit)


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """List the files that are opened meanwhile, and with a `!` what must never happen."""
    _listen()
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()


def checkpoint_of(run: Path) -> Path:
    return Layout(run).checkpoints / "step-00000001"


def file_entry(version: int, content: bytes) -> dict[str, Any]:
    """Return what a manifest of a format says of a file without tensors."""
    entry: dict[str, Any] = {"size": len(content), "digest": xxhash.xxh3_128_hexdigest(content)}
    return entry if version == 1 else entry | {"head": len(content)}


def forge(checkpoint: Path, name: str, content: bytes) -> None:
    """Exchange a file and mend the manifest, as somebody who knows the format can.

    Its tensors are taken to be its last bytes, in their order; where it is too short for them, it
    has none.
    """
    manifest = read_manifest(checkpoint)
    (checkpoint / name).write_bytes(content)
    found = manifest.model_dump()
    if manifest.format == 1:
        found["files"][name] = file_entry(1, content)
        forge_manifest(checkpoint, found)
        return
    segments = [each for each in manifest.segments[name] if each.leaf is not None]
    at = len(content) - sum(each.size for each in segments)
    if at < 0:
        for each in segments:
            del found["leaves"][each.leaf]
        at, segments = len(content), []
    found["files"][name] = file_entry(2, content[:at]) | {"size": len(content)}
    for each in segments:
        digest = xxhash.xxh3_128_hexdigest(content[at : at + each.size])
        found["leaves"][each.leaf] |= {"begin": at, "digest": digest}
        at += each.size
    forge_manifest(checkpoint, found)


def forge_manifest(checkpoint: Path, content: Any) -> None:
    """Write any manifest with the digest that belongs to it."""
    body = json.dumps(content, indent=1, sort_keys=True)
    digest = xxhash.xxh3_128_hexdigest(body.encode())
    whole = f'{{"digest": "{digest}",\n"manifest": {body}}}\n'
    (checkpoint / "manifest.json").write_bytes(whole.encode())


def read_all(checkpoint: Path) -> None:
    """Read a checkpoint as a resume does."""
    found = Checkpoint.at(checkpoint)
    found.verify()
    found.facts()
    found.evidence()
    found.parts()


def require_refused(run: Path) -> None:
    """Read everything: an error of ours, nothing opened elsewhere, hardly any memory taken."""
    tracemalloc.start()
    try:
        with watched() as opened:
            with pytest.raises(UnbrokenError) as caught:
                read_all(checkpoint_of(run))
            with contextlib.suppress(UnbrokenError):
                resuming.find_source(run, "auto")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all((caught.value.what, caught.value.why, caught.value.remedy))
    own = (str(run), "/proc", "/dev/null", sys.prefix, sys.base_prefix)
    source = str(Path(resuming.__file__).parent)
    assert [] == [each for each in opened if not each.startswith((*own, source))]
    assert most < MOST_MEMORY
