"""The command `unbroken doctor`: where a run was resumed, what broke there, and likely why."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken.cli.figures import shown, time_text
from unbroken.counts import counted
from unbroken.errors import NoUsableCheckpoint

if TYPE_CHECKING:
    from unbroken.cli.program import Parser
    from unbroken.doctor.diagnosis import Diagnosis, Resumption

BROKEN: Final = 3

DESCRIPTION: Final = """\
Examine the past of a run: where it was resumed, whether the curves broke there (loss, learning
rate, gradient norm), by how much, and the likely cause with its evidence. Reads the journal, the
history and the manifests of a run; for a run without a journal, such as one of the earlier
trainer, the TensorBoard files in it. Nothing is changed, and no pickle is opened. Exit code 0 if
nothing broke, 3 if something did, 4 if there is nothing to read.

  unbroken doctor training_output
  unbroken doctor trained_ckpts --json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "doctor",
        help="show where a run was resumed, what broke there, and the likely cause",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a run's directory, or TensorBoard files"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Examine the run and print; return the exit code.

    Raises:
        NoUsableCheckpoint: There is nothing to read.
        SettingsInvalid: TensorBoard is needed and not installed.
    """
    from unbroken.doctor.examination import examine_past
    from unbroken.report.progress import progress_bars

    with progress_bars(counts_bytes=True) as bar:
        found = examine_past(arguments.path, bar("reading the record"))
    if found is None:
        raise NoUsableCheckpoint(
            f"{arguments.path} has no journal, no checkpoint and no TensorBoard file that can be "
            "read.",
            "There is no record of the past.",
            "Name the directory of the run.",
        )
    if arguments.json:
        print(json.dumps(_plain(found), ensure_ascii=False))
    else:
        _show(arguments.path, found)
    return BROKEN if found.is_broken else 0


def _plain(found: Diagnosis) -> dict[str, Any]:
    resumes = [
        {**asdict(each), "broke": each.broke, "cause": each.cause} for each in found.resumptions
    ]
    return {**asdict(found), "resumptions": resumes, "is_broken": found.is_broken}


def _show(path: Path, found: Diagnosis) -> None:

    name = f", run {shown(found.run_id)}" if found.run_id else ""
    what = {"journal": "its journal", "curves": "TensorBoard files"}.get(found.source, "manifests")
    reach = f", steps {found.first_step:,} to {found.last_step:,}" if found.starts else ""
    print(f"{path}{name}: read from {what}, {counted(found.starts, 'start')}{reach}")
    for note in found.notes:
        print(f"NOTE: {shown(note)}")
    for number, each in enumerate(found.resumptions, 1):
        _show_resumption(number, each)
    for state in found.checkpoints:
        if state.problem:
            print(f"\ncheckpoint {state.name}: {shown(state.problem)}")
            if state.remedy:
                print(f"   to repair it    {state.remedy}")
            if state.advice:
                print(f"   what to do      {state.advice}")
    broke = sum(each.broke for each in found.resumptions)
    bad = sum(bool(each.problem) for each in found.checkpoints)
    print(
        f"\n{counted(len(found.resumptions), 'resume')}, {broke} broke something; "
        f"{counted(len(found.checkpoints), 'checkpoint')}, {bad} with a problem"
    )


def _show_resumption(number: int, each: Resumption) -> None:

    when = [f"start {each.start}"] if each.start else []
    when += [time_text(each.time)] if each.time is not None else []
    when += [f"from {shown(each.resumed_from)}"] if each.resumed_from else []
    said = "BROKE" if each.broke else "caught in time" if each.was_caught else "nothing broke"
    print(f"\nresume {number} after step {each.step:,} ({', '.join(when)}): {said}")
    rows = [("repeated steps", [each.repeated] if each.repeated else [])]
    rows.append(("curves", list(each.curves)))
    if each.breaks:
        rows.append(("likely cause", [each.cause]))
    said_above = (*each.curves, each.cause)
    evidence = [one.sentence for one in each.clues if one.sentence not in said_above]
    rows.append(("evidence", evidence))
    for label, sentences in rows:
        for i, sentence in enumerate(sentences):
            print(f"   {label if not i else '':<16}{shown(sentence)}")
