"""What crafted checkpoints are made with, and what is watched while they are read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash

from unbroken import resume as resuming
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import UnbrokenError

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


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """List the files that are opened meanwhile, and with a `!` what must never happen."""
    if not hasattr(sys, "_audited_by_unbroken"):
        sys.addaudithook(_audit)  # can't be taken away again, so it is put in once
        sys._audited_by_unbroken = True  # type: ignore[attr-defined]
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()


def checkpoint_of(run: Path) -> Path:
    return Layout(run).checkpoints / "step-00000001"


def forge(checkpoint: Path, name: str, content: bytes) -> None:
    """Exchange a file and mend the manifest, as somebody who knows the format can."""
    (checkpoint / name).write_bytes(content)
    found = read_manifest(checkpoint).model_dump()
    found["files"][name] = {"size": len(content), "digest": xxhash.xxh3_128_hexdigest(content)}
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
                resuming.look(run, "auto")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all((caught.value.what, caught.value.why, caught.value.remedy))
    own = (str(run), "/proc", "/dev/null", sys.prefix, sys.base_prefix)
    source = str(Path(resuming.__file__).parent)
    assert [] == [each for each in opened if not each.startswith((*own, source))]
    assert most < MOST_MEMORY
