"""Looking at a directory of prepared data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MANIFESTS = ("train.jsonl", "val.jsonl", "train_pairs.jsonl", "val_pairs.jsonl")


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tree(directory: Path, *without: str) -> dict[str, bytes]:
    """All files by name, but those named."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in without
    }


def listed(directory: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a list beside some recordings."""
    path = directory / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path
