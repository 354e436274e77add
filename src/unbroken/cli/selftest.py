"""The command `unbroken selftest`: injects known faults into a tiny training."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken.cli.program import nearest
from unbroken.errors import SettingsInvalid

if TYPE_CHECKING:
    from unbroken.cli.program import Parser
    from unbroken.selftest.runner import Score, TrialRow

DESCRIPTION: Final = """\
Train a tiny model, save, kill it, inject a fault, resume, train 20 more steps: for each fault of the
catalogue. Each fault is injected twice: into a resume without checks, to measure its effect (the
largest difference of a step's loss, and the norm of the difference of all weights relative to their
norm, after 20 steps); and into a resume with all checks, to see what finds it. The nine bugs that users
of the earlier trainer are told of come first. The area `blind`, written by somebody who had not read
the checks, comes last and is counted separately. Takes about a minute on two cores.
Exit code 0 if every fault is found, at least 95 % of the causes are named correctly, and in the area
`blind` only faults are missed that are known to be.

  unbroken selftest
  unbroken selftest --only rate --json"""

FAILED: Final = 1
_HEADER: Final = f"{'fault':<34}  {'unnoticed: loss, weights':<25}  what found it"


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "selftest",
        help="inject every known fault into a tiny training and show what finds it",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--device", default="cpu", help="what to train on: cpu, cuda [cpu]")
    parser.add_argument(
        "--only", metavar="NAME", default="", help="one fault, or one area of them (rate, files)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Inject the faults and print; return the exit code.

    Raises:
        SettingsInvalid: No fault has this name.
    """
    from unbroken.selftest.runner import Score, is_passed, run_selftest

    ids = _chosen(arguments.only)
    began = time.monotonic()
    rows: list[TrialRow] = []
    if not arguments.json:
        print(_HEADER)
    with tempfile.TemporaryDirectory(prefix="unbroken-selftest-") as root:
        for row in run_selftest(Path(root), ids, arguments.device):
            rows.append(row)
            if not arguments.json:
                print(_line(row), flush=True)
    score, blind = Score.of(rows), Score.blind(rows)
    seconds = time.monotonic() - began
    if arguments.json:
        faults = [{k: _number(v) for k, v in asdict(row).items()} for row in rows]
        scores = {"score": asdict(score), "unread": asdict(blind)}
        print(json.dumps({"faults": faults, **scores, "seconds": seconds}))
    else:
        print(_summary(score, blind, seconds))
    return 0 if is_passed(rows) else FAILED


def _chosen(name: str) -> list[str]:
    from unbroken.selftest.catalogue import FAULTS

    ids = [each.id for each in FAULTS if name in ("", each.id, each.area)]
    if not ids:
        known = [each.id for each in FAULTS] + [each.area for each in FAULTS]
        raise SettingsInvalid(
            f"No fault and no area of faults has the name {name!r}.{nearest(name, known)}",
            "Nothing would be tested.",
            "Omit --only to see all names.",
        )
    return ids


def _line(row: TrialRow) -> str:
    effect = (
        f"ends by {row.ends_by}"
        if row.ends_by
        else f"{_percent(row.loss)}  {_percent(row.weights)}"
    )
    effect = effect if row.is_fault else "no effect: no fault"
    by = row.by.removeprefix("replay: ") if row.how == "replay" else row.by
    met = f"{row.how}: {by}" if by and by != row.how else row.how
    return f"{row.id:<34}  {effect:<25}  {met}{'' if row.is_named else '  (cause not named)'}"


def _percent(share: float) -> str:
    return f"{100 * share:9.3f} %" if math.isfinite(share) else f"{'not finite':>11}"


def _number(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _summary(score: Score, blind: Score, seconds: float) -> str:
    named = 100 * score.named / max(1, score.faults)
    lines = [
        (
            f"{score.faults} faults of {score.mechanisms} mechanisms: {score.met} found, "
            f"{score.faults - score.met} missed; cause named correctly: {named:.1f} %; "
            f"{seconds:.0f} s"
        )
    ]
    if blind.faults:
        share = 100 * blind.named / blind.faults
        lines.append(
            f"written blind: {blind.faults} faults of {blind.mechanisms} mechanisms: "
            f"{blind.met} found; cause named correctly: {share:.1f} %"
        )
    if score.no_fault:
        lines.append(f"not counted, because they have no effect: {', '.join(score.no_fault)}")
    return "\n".join(lines)
