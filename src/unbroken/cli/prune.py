"""The command `unbroken prune`: delete old checkpoints by rules."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken.errors import NoUsableCheckpoint, SettingsInvalid

if TYPE_CHECKING:
    from unbroken.checkpoint.retention import DeletionPlan, RetentionPolicy
    from unbroken.checkpoint.store import Store
    from unbroken.cli.program import Parser

DESCRIPTION: Final = """\
Delete the checkpoints of a run that no rule keeps. A checkpoint stays if any rule keeps
it; so do the newest undamaged one (it is verified first), the best one, and pinned ones. Checkpoints
of other runs, and everything else in the directory, are left alone. Refused while a training writes
to the run.

  unbroken prune --dry-run training_output --keep-last 3 --keep-every 1000
  unbroken prune training_output --keep-last 1 --keep-best 2"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "prune",
        help="delete old checkpoints by rules; --dry-run only lists them",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("path", metavar="DIR", type=Path, help="the directory of a run")
    add("--dry-run", action="store_true", help="delete nothing, only list what would be deleted")
    add("--keep-last", metavar="K", type=int, default=0, help="keep the newest K")
    add("--keep-every", metavar="N", type=int, default=0, help="keep those at multiples of N steps")
    add("--keep-best", metavar="M", type=int, default=0, help="keep the M with the lowest --metric")
    add(
        "--keep-hours", metavar="H", type=float, default=0.0, help="keep those younger than H hours"
    )
    add(
        "--metric",
        metavar="NAME",
        default="val_loss",
        help="the score that decides what is best [val_loss]",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Delete checkpoints, or list what would be deleted; return the exit code.

    Raises:
        SettingsInvalid: No rule was given.
        NoUsableCheckpoint: There is no run, or all of its checkpoints are damaged.
        DirectoryInUse: A training writes to the run.
    """
    from unbroken.checkpoint.layout import Layout
    from unbroken.checkpoint.lock import WriterLock
    from unbroken.checkpoint.run_directory import run_id_of
    from unbroken.checkpoint.store import Store

    policies = _policies(arguments)
    layout = Layout(arguments.path)
    run_id = run_id_of(layout)
    if run_id is None:
        raise NoUsableCheckpoint(
            f"{layout.root} contains no run.",
            "Only checkpoints of a run are ever deleted.",
            "Name the directory of the run.",
        )
    if arguments.dry_run:
        _show(_plan(Store(layout, run_id), policies, arguments.metric), is_done=False)
        return 0
    lock = WriterLock(layout)
    lock.take()
    try:
        store = Store(layout, run_id, lock.require_ours)
        plan = _plan(store, policies, arguments.metric)
        gone = store.delete(plan.deleted)
    finally:
        lock.release()
    _show(plan, is_done=True, gone=gone)
    return 0 if set(gone) == set(plan.deleted) else 5


def _policies(arguments: argparse.Namespace) -> list[RetentionPolicy]:
    from unbroken.checkpoint.retention import (
        KeepBest,
        KeepEvery,
        KeepLast,
        KeepYounger,
    )

    given = {
        "--keep-last": arguments.keep_last,
        "--keep-every": arguments.keep_every,
        "--keep-best": arguments.keep_best,
        "--keep-hours": arguments.keep_hours,
    }
    wrong = [f"{flag} {value}" for flag, value in given.items() if not 0 <= value < 1e15]
    if wrong or not any(given.values()):
        raise SettingsInvalid(
            f"{', '.join(wrong)} must be a number of checkpoints, steps or hours above 0."
            if wrong
            else "No rule says what to keep.",
            "All checkpoints except the newest and the best would be deleted.",
            f"Give at least one of {', '.join(given)} a number above 0.",
        )
    policies: list[RetentionPolicy] = []
    if arguments.keep_last:
        policies.append(KeepLast(arguments.keep_last))
    if arguments.keep_every:
        policies.append(KeepEvery(arguments.keep_every))
    if arguments.keep_best:
        policies.append(KeepBest(arguments.keep_best))
    if arguments.keep_hours:
        policies.append(KeepYounger(arguments.keep_hours * 3600, time.time()))
    return policies


def _plan(store: Store, policies: list[RetentionPolicy], metric: str) -> DeletionPlan:
    """Verify the newest checkpoint; only older ones may be deleted."""
    whole = store.newest_whole().checkpoint
    return store.plan(policies, metric, whole.path.name if whole else None)


def _show(plan: DeletionPlan, *, is_done: bool, gone: list[str] | None = None) -> None:
    for name, reasons in plan.kept.items():
        print(f"kept     {name}  {', '.join(reasons)}")
    for name in plan.deleted:
        if is_done:
            print(f"deleted  {name}" if name in (gone or []) else f"still there  {name}")
        else:
            print(f"would be deleted  {name}")
