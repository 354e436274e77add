"""Shows the ledger of a run: a table of its epochs, what was found, and one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken.cli.figures import shown
from unbroken.counts import counted
from unbroken.errors import NoUsableCheckpoint

if TYPE_CHECKING:
    from unbroken.doctor.ledger import Ledger
    from unbroken.doctor.ledger_epochs import LedgerEpoch

CODES: Final = {"proved": 0, "broken": 3, "not proved": 4}
"""What a run came to -> exit code."""

MOST_FINDINGS: Final = 20
"""Findings that are printed; --json has all."""

REMEDY: Final = (
    "Either lines of the journal were lost or edited, or the weights after that step are of another "
    "training. Go on from a checkpoint before it; `unbroken doctor` shows what changed at each resume."
)
UNPROVED: Final = (
    "This version writes the sums, but for several loaders side by side: epochs that begin with it "
    "are proved."
)


def run_ledger(paths: Sequence[Path], *, as_json: bool) -> int:
    """Examine runs and print; return the worst exit code.

    Raises:
        NoUsableCheckpoint: A path has no journal with a step.
    """
    from unbroken.doctor.ledger import examine_ledger, run_directory
    from unbroken.report.progress import progress_bars

    codes = []
    for path in paths:
        layout = run_directory(path)
        with progress_bars(counts_bytes=True) as bar:
            found = examine_ledger(layout, bar(f"reading {layout.journal.name}"))
        if found is None:
            raise _nothing_to_read(path, layout.journal)
        if as_json:
            print(json.dumps(_plain(found), ensure_ascii=True), flush=True)
        else:
            _show(path, found)
        codes.append(CODES[found.outcome])
    return 3 if 3 in codes else max(codes)


def _nothing_to_read(path: Path, journal: Path) -> NoUsableCheckpoint:
    what = f"{journal} has no line of a step that can be read."
    if not journal.is_file():
        what = (
            f"{path} has no {journal.name}: it is not the directory of a run, or none was trained."
        )
    return NoUsableCheckpoint(
        what,
        "The journal is what tells which samples each step used; without it nothing can be proved.",
        "Name the directory of a run, or put its journal back from a backup.",
    )


def _plain(found: Ledger) -> dict[str, Any]:
    from unbroken.order.sample_sum import sum_text

    epochs = [
        {
            **asdict(each),
            "total": sum_text(each.total),
            "faults": [fault._asdict() for fault in each.faults],
        }
        for each in found.epochs
    ]
    return {**asdict(found), "epochs": epochs, "exit_code": CODES[found.outcome]}


def _show(path: Path, found: Ledger) -> None:
    name = f", run {shown(found.run_id)}" if found.run_id else ""
    repeated = f", {counted(found.repeated, 'step')} repeated with the same samples"
    print(
        f"{path}{name}: {counted(found.steps, 'step')} by {found.made_by} of "
        f"{counted(found.starts, 'start')}" + (repeated if found.repeated else "")
    )
    for line in _table(found.epochs):
        print(f"   {line}".rstrip())
    findings = [each for epoch in found.epochs for each in epoch.faults]
    for each in findings[:MOST_FINDINGS]:
        print(
            f"{each.kind.upper()}, epoch {each.epoch}, step {each.step:,}: {shown(each.sentence)}"
        )
    if len(findings) > MOST_FINDINGS:
        print(f"{len(findings) - MOST_FINDINGS:,} more; --json has them all")
    for note in found.notes:
        print(f"NOTE: {shown(note)}")
    print(found.sentence)
    if found.outcome != "proved":
        print(REMEDY if found.outcome == "broken" else UNPROVED)


def _table(epochs: Sequence[LedgerEpoch]) -> Iterator[str]:
    rows = [("epoch", "steps", "samples", "of", "starts", "verdict")]
    rows += [
        (
            str(each.number),
            f"{each.first:,}-{each.last:,}",
            f"{each.samples:,}",
            "?" if each.of is None else f"{each.of:,}",
            _starts(each.starts),
            each.verdict,
        )
        for each in epochs
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[:5], widths, strict=True)]
        yield "  ".join([*cells, row[5]])


def _starts(numbers: Sequence[int]) -> str:
    listed = ",".join(map(str, numbers[:4]))
    return listed if len(numbers) <= 4 else f"{listed},… ({len(numbers)})"
