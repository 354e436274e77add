"""The initial facts of a run, compared by a start that finds the run but no checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.errors import CheckpointCorrupt
from unbroken.state.codec import decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialFacts:
    """The facts and weights that a run began with."""

    facts: Mapping[str, Any]
    """The facts of the run."""
    digest: str
    """Digest over all tensors of its state before the first step."""


def write_initial_facts(layout: Layout, run_id: str, initial: InitialFacts) -> None:
    """Write the initial facts of a run that begins, or begins again.

    Raises:
        OSError: The disk can't be written.
    """
    facts = encode(dict(initial.facts), "facts", {})
    content = {"run_id": run_id, "facts": facts, "digest": initial.digest}
    disk.replace_file(layout.start_file, (json.dumps(content, indent=1) + "\n").encode())


def read_initial_facts(layout: Layout, run_id: str) -> InitialFacts | None:
    """Return the initial facts of a run.

    None if an earlier version began it, the file is damaged, or it is another run's.
    """
    try:
        content = json.loads(layout.start_file.read_bytes())
        if content["run_id"] != run_id:
            return None
        return InitialFacts(facts=dict(decode(content["facts"], {})), digest=str(content["digest"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, CheckpointCorrupt):
        return None
