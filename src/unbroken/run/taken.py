"""A saved state with the accepted new values in place of the saved ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from unbroken.checks.state_summary import is_below
from unbroken.tree import join


def with_new(saved: Any, live: Any, changed: Collection[str], path: str) -> Any:
    """Return what is saved at a path, with what changed there as it is live.

    Args:
        saved: Dicts, lists and leaves, as a part captured them.
        live: The same of the live part.
        changed: Paths of the leaves whose new value acts; one that is not live is left out.
        path: Where both stand.
    """
    if not _leads_to(path, changed):
        return saved  # with its own type: a Counter, an ordered dict
    if isinstance(saved, Mapping) and isinstance(live, Mapping):
        kept = [key for key in saved if key in live or not is_below(join(path, key), changed)]
        new = [key for key in live if key not in saved and _leads_to(join(path, key), changed)]
        return {
            key: live[key]
            if key not in saved
            else saved[key]
            if key not in live
            else with_new(saved[key], live[key], changed, join(path, key))
            for key in (*kept, *new)
        }
    if isinstance(saved, list) and isinstance(live, list) and len(saved) == len(live):
        pairs = enumerate(zip(saved, live, strict=True))
        return [with_new(old, new, changed, join(path, i)) for i, (old, new) in pairs]
    return live if _leads_to(path, changed) else saved


def _leads_to(path: str, changed: Collection[str]) -> bool:
    """Say whether anything at or below a path changed."""
    return any(is_below(each, (path,)) for each in changed)
