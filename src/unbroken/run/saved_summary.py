"""A checkpoint as the checks see it: the same summary that is made of the live run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from unbroken.checkpoint.read import Checkpoint
from unbroken.checks.state_summary import Leaf, StateSummary
from unbroken.run.flat_state import flat
from unbroken.state.facts import seed_of
from unbroken.state.position import Position
from unbroken.state.random_streams import streams_of
from unbroken.state.saved_steps import saved_steps
from unbroken.tree import uncompiled


def summary_of(checkpoint: Checkpoint, live_kinds: Mapping[str, str]) -> StateSummary:
    """Return a run as a checkpoint holds it.

    Args:
        checkpoint: Verified.
        live_kinds: Of the live parts; an older checkpoint doesn't say of what kind its parts are.
    """
    evidence = checkpoint.evidence()
    parts = checkpoint.stored_parts()
    position = position_to_go_on_from(checkpoint)
    if position != checkpoint.position:
        evidence = {**evidence, "next_samples_after": checkpoint.position.samples}
        seed = seed_of(checkpoint.facts())
        if seed is not None and "seed_here" in evidence:
            streams = streams_of(evidence["schemes"]["seed_scheme"], seed)
            evidence["seed_here"] = streams.seed_at(position)
    values, _ = flat(parts)
    kinds = {name: live_kinds.get(name, "other") for name in parts}
    return StateSummary(
        position=position.state_dict(),
        facts=checkpoint.facts(),
        kinds=evidence.get("kinds", kinds),
        values=values,
        leaves={
            uncompiled(path): Leaf(each.dtype, tuple(each.shape), each.digest)
            for path, each in checkpoint.leaves.items()
        },
        evidence={**evidence, "optimizer_steps": saved_steps(parts)},
        is_ours="gathered" in evidence,
    )


def position_to_go_on_from(checkpoint: Checkpoint) -> Position:
    """Return where a start from a checkpoint stands.

    That is where it was saved, unless it was saved inside a step of which neither a gradient nor a sum
    was gathered: nothing of that step was done, and it begins anew.
    """
    here = checkpoint.position
    gathered = any(path.startswith(("gradients.", "sums.")) for path in checkpoint.leaves)
    return here if gathered else replace(here, samples=0)
