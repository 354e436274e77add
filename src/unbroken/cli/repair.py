"""The command `unbroken repair`: repair a checkpoint by writing a new one, and explain it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken.errors import NoUsableCheckpoint, SaveFailed

if TYPE_CHECKING:
    from unbroken.checkpoint.layout import Layout
    from unbroken.checkpoint.store import Store
    from unbroken.cli.program import Parser
    from unbroken.doctor.repair import Repair

CHOICES: Final = ("schedule", "position", "previous")

DESCRIPTION: Final = """\
Repair a checkpoint. The repair is explained first and written as a new checkpoint; the old one is
moved to superseded/, never deleted. For a run's directory its newest checkpoint is used. Refused
while a training writes to the run. The run's history records the repair.
`schedule` sets a schedule's counter to the updates that were made; `position` goes back to the
start of an interrupted step and drops its partial gradients; `previous` goes back to the newest
undamaged checkpoint before.

  unbroken repair --dry-run training_output schedule
  unbroken repair training_output/checkpoints/step-00003500+24 position
  unbroken repair training_output previous"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "repair",
        help="repair a checkpoint by writing a new one; --dry-run only explains",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "path",
        metavar="PATH",
        type=Path,
        help="a checkpoint, latest in a run's directory, or that directory",
    )
    add("what", metavar="schedule|position|previous", choices=CHOICES, help="what to repair")
    add("--dry-run", action="store_true", help="change nothing, only explain")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain and repair; return the exit code.

    Raises:
        NoUsableCheckpoint: There is no run, or no checkpoint to go back to.
        CheckpointCorrupt: The checkpoint to repair is damaged.
        SettingsInvalid: It can't be repaired in this way.
        DirectoryInUse: A training writes to the run.
        SaveFailed: The disk can't be written; existing checkpoints are untouched.
    """
    from unbroken.checkpoint.lock import WriterLock
    from unbroken.cli.paths import newest_if_latest

    arguments.path = newest_if_latest(arguments.path)
    layout, store = _run_at(arguments.path)
    if arguments.dry_run:
        _explain(_planned(arguments, store))
        return 0
    lock = WriterLock(layout)
    lock.take()
    try:
        store.require_ours = lock.require_ours
        repair = _planned(arguments, store)
        _explain(repair)
        if repair is not None:
            _carry_out(store, repair)
    finally:
        lock.release()
    return 0


def _run_at(path: Path) -> tuple[Layout, Store]:
    from unbroken.checkpoint.layout import Layout, is_checkpoint_name
    from unbroken.checkpoint.run_directory import run_id_of
    from unbroken.checkpoint.store import Store
    from unbroken.cli.paths import run_directory_of

    is_one = is_checkpoint_name(path.absolute().name)
    layout = run_directory_of(path) if is_one else Layout(path.absolute())
    run_id = run_id_of(layout)
    if run_id is None:
        raise NoUsableCheckpoint(
            f"{layout.root} contains no run.",
            "Only a checkpoint in the directory of its run can be repaired, because its journal is there.",
            "Name a directory under checkpoints/, or the directory of a run.",
        )
    return layout, Store(layout, run_id)


def _planned(arguments: argparse.Namespace, store: Store) -> Repair | None:
    from unbroken.checkpoint.layout import is_checkpoint_name
    from unbroken.checkpoint.read import Checkpoint
    from unbroken.cli.paths import one_checkpoint_at
    from unbroken.doctor import repair as mending
    from unbroken.report.progress import progress_bars

    path = arguments.path.absolute()
    is_one = is_checkpoint_name(path.name)
    if arguments.what == "previous":
        return mending.fallen_back(store, path if is_one else None)
    checkpoint = Checkpoint.at(one_checkpoint_at(path))
    if checkpoint.manifest.run_id != store.run_id:
        raise NoUsableCheckpoint(
            f"{checkpoint.path} belongs to run {checkpoint.manifest.run_id}, the directory to run "
            f"{store.run_id}.",
            "A checkpoint is repaired in the directory of its own run.",
            "Move it back to where it was.",
        )
    with progress_bars(counts_bytes=True) as bar:
        checkpoint.verify(bar(f"verifying {checkpoint.path.name}"))
    plans = {"schedule": mending.repaired_schedule, "position": mending.repaired_position}
    return plans[arguments.what](checkpoint)


def _explain(repair: Repair | None) -> None:
    if repair is None:
        print("Nothing to repair. Nothing was changed.")
        return
    print(f"{repair.what}: {repair.source}")
    for each in repair.explanation:
        print(f"   {each}")


def _carry_out(store: Store, repair: Repair) -> None:
    from unbroken.doctor.repair import carry_out
    from unbroken.journal.record import note_in_history

    try:
        place = carry_out(store.layout, repair, store.require_ours)
    except OSError as error:
        raise SaveFailed(
            f"The repair could not be completed: {error}.",
            "No checkpoint was deleted; some may be in superseded/.",
            "Free space on the disk, or check its permissions, and run the command again.",
        ) from error
    note_in_history(
        store.layout,
        "repaired",
        what=repair.what,
        source=repair.source.name,
        checkpoint=place.name,
        explanation=list(repair.explanation),
    )
    print(f'Done. The run continues from {place}; start its program again, and resume with "auto".')
