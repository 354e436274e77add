"""A start of several processes: the leader finds what to go on from, and all begin alike or none does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from unbroken.checkpoint.layout import Layout, layout_of_rank
from unbroken.checkpoint.lock import WriterLock
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import run_id_of
from unbroken.checks.schedule_settings import OF_LOOP, OF_RUN
from unbroken.errors import CheckpointCorrupt, ResumeRefused, RunMisused, SettingsInvalid
from unbroken.order.share import Share
from unbroken.order.step_batches import StepBatches
from unbroken.ranks.group import Ranks, together
from unbroken.run.enter import Entered, enter
from unbroken.run.inspector import StateInspector
from unbroken.run.plan import RunPlan
from unbroken.run.source import ResumeSource, confirm_source, find_source
from unbroken.state.facts import differences
from unbroken.state.modules import across_samples

_OF_EACH: Final = ("order", "environment.processor", "environment.devices")
"""Facts that may differ from rank to rank."""


class NoLock:
    """What a process has that is not the leader: the leader's lock is the run's."""

    before_handing_over: Callable[[], None] = staticmethod(lambda: None)

    def take(self) -> None:
        """Do nothing."""

    def require_ours(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


def lock_of(ranks: Ranks, layout: Layout) -> WriterLock | NoLock:
    """Return what keeps other writers away: one lock for all ranks."""
    return WriterLock(layout) if ranks.rank == 0 else NoLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the leader found, for the other ranks."""

    root: Path
    run_id: str | None
    scheme: int | None
    checkpoint: Path | None


def _require_one_directory(ranks: Ranks, root: Path) -> None:
    """Refuse ranks that would write to different directories.

    Raises:
        SettingsInvalid: They would.
    """
    roots = [Path(each) for each in ranks.gather(str(root.absolute()))]
    others = [rank for rank, each in enumerate(roots) if each != roots[0]]
    if others:  # every rank finds the same
        raise SettingsInvalid(
            f"Rank {others[0]} has the directory {roots[others[0]]}, rank 0 has {roots[0]}.",
            "The processes of one training are one run: each of its checkpoints holds what every rank "
            "saved.",
            "Give every rank the same directory, on a disk that all of them see.",
        )


def source_for(
    ranks: Ranks, layout: Layout, how: str | ResumeSource, *, may_move: bool
) -> ResumeSource:
    """Return what this rank continues from; one process finds it, and all hear of it.

    Args:
        ranks: The processes of the run.
        layout: The directory that this rank was given.
        how: As in `Run.resume`.
        may_move: Whether another number of processes may go on.

    Raises:
        NoUsableCheckpoint: What was asked for isn't there, or nothing is whole.
        SettingsInvalid: Ranks have different directories.
        RankFailed: Another rank failed, so that none goes on.
    """
    found = None
    if ranks.count > 1:
        _require_one_directory(ranks, layout.root)
    with together(ranks):
        if ranks.rank == 0:
            found = find_source(layout.root, how) if isinstance(how, str) else how
    return shared_source(ranks, found, may_move=may_move)


def shared_source(ranks: Ranks, found: ResumeSource | None, *, may_move: bool) -> ResumeSource:
    """Return what this rank continues from, as the leader found it.

    Args:
        ranks: The processes of the run.
        found: What the leader found; None on other ranks.
        may_move: Whether another number of processes may go on.

    Raises:
        ResumeRefused: The checkpoint was saved by another number of processes, and that may not be.
        CheckpointCorrupt: This rank can't see the leader's checkpoint.
    """
    with together(ranks):
        if found is not None and not may_move:
            _require_count(ranks, found)
    told = ranks.from_leader(None if found is None else _told(found))
    with together(ranks):
        return found if found is not None else _as_told(told, ranks, may_move=may_move)


def _told(found: ResumeSource) -> _Found:
    path = found.checkpoint.path.absolute() if found.checkpoint else None
    scheme = None if found.run_id is None else found.seed_scheme
    root = found.layout.root.absolute()
    return _Found(root=root, run_id=found.run_id, scheme=scheme, checkpoint=path)


def _as_told(told: _Found, ranks: Ranks, *, may_move: bool) -> ResumeSource:
    layout = layout_of_rank(Layout(told.root), ranks.rank)
    is_named = told.run_id is not None and run_id_of(layout) is None
    return ResumeSource(
        layout=layout,
        run_id=told.run_id,
        checkpoint=None if told.checkpoint is None else _seen(told.checkpoint, ranks),
        is_named_again=is_named,
        scheme=told.scheme,
        # What every rank writes of a whole step is the same, and the leader was there all along.
        recorded_in=Layout(told.root) if may_move else None,
    )


def confirmed(ranks: Ranks, source: ResumeSource, *, may_move: bool) -> ResumeSource:
    """Return what is found now, if anything changed since the leader looked.

    Args:
        ranks: The processes of the run.
        source: What was found.
        may_move: Whether another number of processes may go on.

    Raises:
        NoUsableCheckpoint: What was asked for isn't there any more.
    """
    with together(ranks):
        now = confirm_source(source) if ranks.rank == 0 else None
    if not ranks.from_leader(now is not source):
        return source
    return shared_source(ranks, now, may_move=may_move)


def enter_together(
    ranks: Ranks, source: ResumeSource, plan: RunPlan, evidence: Mapping[str, Any]
) -> Entered:
    """Make the directory the run's, the leader first; then all train together.

    Args:
        ranks: The processes of the run.
        source: What this one continues from.
        plan: Its objects.
        evidence: Of the checkpoint; empty where nothing was restored.

    Raises:
        SaveFailed: The disk refused; nothing was trained yet.
        SettingsInvalid: The ranks of a new run begin with different weights.
    """
    if source.checkpoint is None and plan.may_move:
        _require_same_weights(ranks, plan.inspector)
    entered = None
    with together(ranks):
        if ranks.rank == 0:
            entered = enter(source, plan.inspector, plan.seed, plan.grace_seconds)
    run_id = ranks.from_leader(None if entered is None else entered.run_id)
    with together(ranks):
        entered = entered or enter(source, plan.inspector, plan.seed, plan.grace_seconds, run_id)
    plan.agreement.among(ranks)
    if isinstance(plan.order, StepBatches):
        plan.order.share = Share(rank=ranks.rank, count=ranks.count)
    notes = plan.inspector.replicas.begin(evidence)
    return replace(entered, notes=(*entered.notes, *_restarts(os.environ), *notes))


def _seen(path: Path, ranks: Ranks) -> Checkpoint:
    rank = ranks.rank
    try:
        found = Checkpoint.at(path)
        return found.of_rank(rank) if found.ranks == ranks.count else found
    except CheckpointCorrupt as error:
        raise CheckpointCorrupt(
            f"Rank {rank} can't use the checkpoint that rank 0 found: {error.what}",
            "Every rank goes on from the same checkpoint.",
            "Give all ranks a directory on a disk that all of them see.",
        ) from error


def _require_count(ranks: Ranks, found: ResumeSource) -> None:
    if found.checkpoint is None or found.checkpoint.ranks == ranks.count:
        return
    saved = found.checkpoint.ranks
    raise ResumeRefused(
        f"{found.checkpoint.path} was saved by {saved} "
        f"process{'es' if saved > 1 else ''}; {ranks.count} {'are' if ranks.count > 1 else 'is'} "
        "started now.",
        "Each rank goes on with its own share of the samples and its own state.",
        f"Start it with {saved}: torchrun --nproc-per-node {saved}.",
    )


def require_same_program(ranks: Ranks, plan: RunPlan) -> None:
    """Compare what the ranks are made of, before any of them is restored.

    Raises:
        SettingsInvalid: They differ in a fact, a part, a shape or an option.
        RunMisused: Gradients would be added up by the run and by PyTorch.
    """
    if ranks.count == 1:
        if isinstance(plan.order, StepBatches) and plan.order.virtual_devices:
            _require_no_batch_statistics(plan)
        return
    plan.inspector.replicas.find()
    _require_no_batch_statistics(plan)
    if plan.may_move and plan.inspector.replicas:
        raise RunMisused(
            "Run(order=) was given a model in DistributedDataParallel.",
            "The run itself divides the samples of a step and adds up the gradients, so PyTorch's "
            "averages would be added up once more.",
            "Give Run(...) and the optimizer the model as it is, without the wrapper.",
        )
    mine = _compared(plan.inspector)
    of_leader = ranks.from_leader(mine)
    found = differences(of_leader, mine)
    listed = "\n".join(
        f"  {each.name}: {each.live!r}, on rank 0 {each.saved!r}" for each in found[:10]
    )
    with together(ranks):
        if found:
            raise SettingsInvalid(
                f"Rank {ranks.rank} is not set up as rank 0 is:\n{listed}",
                "The processes of one training make each step together, of one model and with one set of "
                "settings.",
                "Start the same program with the same arguments on every rank.",
            )


def _restarts(environment: Mapping[str, str]) -> list[str]:
    """Warn where torchrun could not start a group again: https://github.com/pytorch/pytorch/issues/135712."""
    restarts = environment.get("TORCHELASTIC_MAX_RESTARTS", "0")
    is_shared = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if restarts == "0" or not is_shared:
        return []
    return [
        (
            "WARNING: torchrun may not bring the processes up again after a restart, for they find addresses "
            "of the ones before: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
        )
    ]


def _require_no_batch_statistics(plan: RunPlan) -> None:
    """Refuse statistics over samples, where the run divides the steps: each process has its own samples."""
    found = across_samples(plan.state.parts) if plan.may_move else []
    if found:
        raise RunMisused(
            f"{found[0]} is a batch norm, and the run divides its steps among processes or virtual devices.",
            "Its statistics would be of one process's samples, and depend on how many processes there are.",
            "Use a norm that looks at one sample at a time, or train with your own loop in "
            "DistributedDataParallel, or in one process without virtual devices.",
        )


def _require_same_weights(ranks: Ranks, inspector: StateInspector) -> None:
    if ranks.count == 1:
        return
    digest = inspector.digest()
    of_leader = ranks.from_leader(digest)
    with together(ranks):
        if digest != of_leader:
            raise SettingsInvalid(
                f"Rank {ranks.rank} begins with other weights than rank 0.",
                "The ranks add up the gradients of one model; each would go on training its own.",
                "Build the model from the same seed on every rank, or load the same weights.",
            )


def _compared(inspector: StateInspector) -> dict[str, Any]:
    built = inspector.structure()
    facts: Mapping[str, Any] = built.facts
    return {
        "facts": _without(facts, _OF_EACH),
        "parts": dict(built.kinds),
        "options": {
            path: each
            for path, each in built.values.items()
            if built.kinds.get(path.partition(".")[0]) in ("optimizer", OF_RUN, OF_LOOP)
        },
        "tensors": {
            path: f"{each.dtype} {list(each.shape)}" for path, each in built.leaves.items()
        },
        "samples": facts.get("order", {}).get("samples"),
    }


def _without(facts: Mapping[str, Any], names: tuple[str, ...], path: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, each in facts.items():
        name = f"{path}.{key}" if path else key
        if name in names:
            continue
        kept[key] = _without(each, names, name) if isinstance(each, Mapping) else each
    return kept
