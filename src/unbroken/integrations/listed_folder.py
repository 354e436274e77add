"""A folder that a framework has written: flushed, read back, and with a list of its files by which it is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from unbroken.checkpoint import disk
from unbroken.checkpoint.device_read import device_digests
from unbroken.errors import SaveFailed
from unbroken.state.digest import file_digest

LIST: Final = "unbroken_files.json"
"""The list of a folder's files, with size and digest; written last."""


def seal(folder: Path, mark: str = "") -> None:
    """Make all files durable, compare what the device holds, and write the list of them.

    Args:
        folder: Where they are.
        mark: A file that says that the folder is being written; it is not listed, and goes last.

    Raises:
        SaveFailed: Other bytes were read back.
        OSError: The disk refused.
    """
    found = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        if path.name == mark:
            continue
        disk.sync_file(path)
        content = file_digest(path)
        digests, _ = device_digests(path, [size := path.stat().st_size])
        if digests != [content]:
            raise SaveFailed(
                f"{path} was written, but other bytes were read back.",
                "The device or the system corrupts data; this folder does not count as whole.",
                "Check the disk, or save to another one.",
            )
        found[path.relative_to(folder).as_posix()] = {"size": size, "digest": content}
    listed = json.dumps({"format": 1, "files": found}, indent=1).encode() + b"\n"
    disk.write_new_file(folder / LIST, [listed])
    for each in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        disk.sync_directory(each)
    if mark:
        disk.remove_tree(folder / mark)
        disk.sync_directory(folder)


def listed_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and digest of each file by its path inside.

    Raises:
        OSError: There is no list, or it can't be read.
        ValueError: It is damaged.
    """
    try:
        return dict(json.loads((folder / LIST).read_bytes())["files"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{LIST} is no list of files") from error


def fault_in(folder: Path, files: dict[str, dict[str, Any]]) -> tuple[str, str] | None:
    """Read every listed file; return the first that isn't as it was, and whether it is there at all."""
    for name, of in files.items():
        path = folder / name
        if not path.is_file():
            return name, "is missing"
        if file_digest(path) != of["digest"]:
            return name, "is damaged"
    return None
