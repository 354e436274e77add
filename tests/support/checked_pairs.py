"""Valid pairs on the disk, and the preflight over them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from support.pairs import write_pairs
from unbroken_tts.data.limits import Limits
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.preflight import Checked, preflight

LIMITS = Limits(
    vocabulary=40,
    start_mel_token=32,
    max_text_tokens=12,
    max_mel_tokens=24,
    condition_rows=4,
    model_dim=8,
)
LONG_AGO = 1_600_000_000
PAIRS = 7


def written(directory: Path, count: int = PAIRS, **arguments: Any) -> Path:
    """Write valid pairs whose files are old enough to be remembered at once."""
    manifest = write_pairs(directory, count, condition_rows=4, model_dim=8, **arguments)
    for file in directory.rglob("*.npy"):
        os.utime(file, (LONG_AGO, LONG_AGO))
    return manifest


def check(manifest: Path, cache: Path | None = None, **arguments: Any) -> Checked:
    """Load and check one manifest."""
    cache = cache or manifest.with_name("facts")
    return preflight(load_pairs([str(manifest)]), LIMITS, cache, **arguments)


def lines_of(manifest: Path) -> list[dict[str, Any]]:
    """Return the lines as objects."""
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def rewrite(manifest: Path, lines: list[dict[str, Any]]) -> None:
    """Replace the lines."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    manifest.write_text(text, encoding="utf-8", newline="\n")


def facts_of(checked: Checked) -> tuple[Any, ...]:
    """Return what must not depend on how the facts were obtained."""
    digests = checked.pairs.digests
    assert digests is not None
    return (checked.pairs.ids, checked.fingerprint, digests.tobytes(), checked.dropped)
