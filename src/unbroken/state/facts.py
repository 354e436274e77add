"""Facts: what a run is made of. Files are compared by content, never by path."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash

from unbroken.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class FactDifference:
    """One fact that is not what it was."""

    name: str
    saved: Any
    live: Any

    def __str__(self) -> str:
        """Say what it is and what it was."""
        return f"{self.name} is {self.live!r}, was {self.saved!r}"


def settled(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts with every path replaced by the digest of the file's content.

    Raises:
        SettingsInvalid: A file can't be read.
    """
    return {name: _settle(name, each) for name, each in facts.items()}


def _settle(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _settle(f"{name}.{key}", each) for key, each in value.items()}
    if not isinstance(value, Path):
        return value
    try:
        return "xxh3:" + xxhash.xxh3_128_hexdigest(value.read_bytes())
    except OSError as error:
        raise SettingsInvalid(
            f"{value}, the fact {name!r} of this run, can't be read: {error}.",
            "A run is compared by the content of its files when it is resumed.",
            "Check the path.",
        ) from error


def differences(
    saved: Mapping[str, Any], live: Mapping[str, Any], path: str = ""
) -> list[FactDifference]:
    """Return every fact that was added, removed or changed, by dotted name."""
    found: list[FactDifference] = []
    for key in sorted(saved.keys() | live.keys()):
        name = f"{path}.{key}" if path else key
        a, b = saved.get(key), live.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found.extend(differences(a, b, name))
        elif type(a) is not type(b) or a != b:
            found.append(FactDifference(name, a, b))
    return found


def environment() -> dict[str, Any]:
    """Return the facts of this process that may change, and whose change is named at a resume."""
    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "platform": f"{platform.system()} {platform.machine()}",
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if cuda
        else [],
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
    }
