"""What a check compares: a run as it was saved, and the same run as it stands now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unbroken.tree import leaves


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor of the state."""

    dtype: str
    shape: tuple[int, ...]
    digest: str = ""
    """XXH3-128 of the bytes; empty where only the structure was looked at."""

    def __str__(self) -> str:
        """Say what it is, without its content."""
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSummary:
    """A run at one instant, read-only: nothing in it can change what was observed.

    A literal of a few fields is a whole summary, so a check is tested without a run.
    """

    position: Mapping[str, int] = field(default_factory=dict)
    """Where the run stands; see `unbroken.Position`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the run is made of."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Of each part: `model`, `optimizer`, `schedule`, `scaler`, `run` or `other`."""
    leaves: Mapping[str, Leaf] = field(default_factory=dict)
    """The tensors of the state by path."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """All else of the state by path, in the typed codec's form."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What was measured or computed: rates to come, samples to come, probe losses, ..."""
    is_ours: bool = True
    """Whether a version wrote it that gathers evidence; then what is missing has been lost."""

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the names of the parts of these kinds, in order."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def fact(self, name: str, default: Any = None) -> Any:
        """Return a fact by its dotted name."""
        found: Any = self.facts
        for key in name.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return default
            found = found[key]
        return found

    def facts_below(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the single facts at or below these dotted names, by full name."""
        return {path: each for path, each in self.all_facts() if is_below(path, names)}

    def all_facts(self) -> Iterator[tuple[str, Any]]:
        """Yield every single fact with its dotted name."""
        return leaves(self.facts)


def is_below(path: str, roots: Iterable[str]) -> bool:
    """Say whether a dotted path is one of `roots` or lies below one."""
    return any(path == root or path.startswith(f"{root}.") for root in roots)
