"""The input of a check: a summary of a run as saved, or as it is now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unbroken.tree import leaves


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor of the state."""

    dtype: str
    shape: tuple[int, ...]
    digest: str = ""
    """XXH3-128 of the bytes; empty if only the structure was inspected."""

    def __str__(self) -> str:
        """Return dtype and shape."""
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSummary:
    """A run at one instant, read-only.

    All fields have defaults, so a check can be tested without a run.
    """

    position: Mapping[str, int] = field(default_factory=dict)
    """The position; see `unbroken.Position`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The facts of the run."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The kind of each part: `model`, `optimizer`, `schedule`, `scaler`, `run` or `other`."""
    leaves: Mapping[str, Leaf] = field(default_factory=dict)
    """The tensors of the state by path."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """All other state by path, in the typed codec's form."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What was measured or computed: coming rates and samples, probe losses, ..."""
    is_ours: bool = True
    """Whether its version records evidence; missing evidence is then a loss."""

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the names of the parts of these kinds, in order."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def without(self, parts: Collection[str]) -> StateSummary:
        """Return the summary without some parts."""
        return replace(
            self,
            kinds={name: kind for name, kind in self.kinds.items() if name not in parts},
            leaves={path: each for path, each in self.leaves.items() if not is_below(path, parts)},
            values={path: each for path, each in self.values.items() if not is_below(path, parts)},
        )

    def fact(self, name: str, default: Any = None) -> Any:
        """Return a fact by its dotted name."""
        found: Any = self.facts
        for key in name.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return default
            found = found[key]
        return found

    def facts_below(self, names: Iterable[str]) -> dict[str, Any]:
        """Return all leaf facts at or below these dotted names, by full name."""
        return {path: each for path, each in self.all_facts() if is_below(path, names)}

    def all_facts(self) -> Iterator[tuple[str, Any]]:
        """Yield every leaf fact with its dotted name."""
        return leaves(self.facts)


def is_below(path: str, roots: Iterable[str]) -> bool:
    """Return whether a dotted path is one of `roots` or below one."""
    return any(path == root or path.startswith(f"{root}.") for root in roots)
