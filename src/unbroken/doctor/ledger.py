"""The ledger of a run: was each sample of each epoch used exactly once, over all its starts?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unbroken.checkpoint.initial_facts import read_initial_facts
from unbroken.checkpoint.layout import Layout, place_in_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import run_id_of
from unbroken.counts import counted
from unbroken.doctor.ledger_epochs import (
    AS_DRAWN,
    BEGUN_ELSEWHERE,
    LEFT_OUT,
    LedgerEpoch,
    prove_epochs,
)
from unbroken.doctor.ledger_path import Fault, ReportProgress, TrainedPath, read_path
from unbroken.doctor.ledger_ranks import over_ranks
from unbroken.doctor.ledger_starts import read_starts
from unbroken.errors import UnbrokenError
from unbroken.state.position import Position

Outcome = Literal["proved", "broken", "not proved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What the record of a run proves about its samples."""

    path: str
    run_id: str
    outcome: Outcome
    epochs: tuple[LedgerEpoch, ...]
    steps: int
    """Steps that made the present state, as far as the journal has them."""
    starts: int
    """Starts of the run."""
    made_by: int
    """Starts that these steps are of."""
    repeated: int
    """Steps that a resume repeated, with the same samples."""
    notes: tuple[str, ...]
    sentence: str
    """What it comes to."""

    @property
    def faults(self) -> list[Fault]:
        """All faults, in the order of the steps."""
        return [fault for each in self.epochs for fault in each.faults]


def examine_ledger(
    layout: Layout, report: ReportProgress = lambda _done, _total: None
) -> Ledger | None:
    """Return what a run's record proves about its samples; None if the journal has no step.

    Args:
        layout: The run's directory; nothing is changed.
        report: Called with bytes read.
    """
    if not layout.journal.is_file():
        return None
    starts = read_starts(layout.history)
    path = read_path(layout.journal, starts, report)
    if not path.steps:
        return None
    newest, run_id = _newest(layout), _run_id(layout)
    order = _order_facts(layout, newest, run_id)
    epochs = prove_epochs(path, starts, order)
    others = _of_other_ranks(layout, order)
    if others:
        epochs = over_ranks([epochs, *others])
    if newest is not None:
        _add(_against_checkpoint(path, newest), epochs)
    outcome = _outcome(epochs)
    made_by = len({start for each in epochs for start in each.starts})
    return Ledger(
        path=str(layout.root),
        run_id=run_id,
        outcome=outcome,
        epochs=tuple(epochs),
        steps=len(path.steps),
        starts=max(len(starts.by_number), made_by),
        made_by=made_by,
        repeated=path.repeated,
        notes=(*path.notes, *_notes(path, epochs, newest)),
        sentence=_SENTENCES[outcome](epochs),
    )


def _of_other_ranks(layout: Layout, order: Mapping[str, Any]) -> list[list[LedgerEpoch]]:
    """Return the epochs of every process but the leader; none where its journal tells whole steps."""
    found: list[list[LedgerEpoch]] = []
    if "ids" in order:  # of `StepBatches`, which the run divides itself
        return found
    for each in sorted(layout.ranks.glob("rank-*")):
        own = Layout(each)
        if own.journal.is_file():
            starts = read_starts(own.history)
            path = read_path(own.journal, starts, lambda _done, _total: None)
            found.append(prove_epochs(path, starts, order))
    return found


def _newest(layout: Layout) -> Checkpoint | None:
    """Return the checkpoint that is furthest on, of those whose manifest can be read."""
    if not layout.checkpoints.is_dir():
        return None
    places = [(place_in_name(each.name), each) for each in layout.checkpoints.iterdir()]
    named = sorted((place, each) for place, each in places if place is not None)
    for _, each in reversed(named):
        try:
            return Checkpoint.at(each)
        except UnbrokenError:
            continue
    return None


def _run_id(layout: Layout) -> str:
    try:
        return run_id_of(layout) or ""
    except (UnbrokenError, OSError):
        return ""


def _order_facts(layout: Layout, newest: Checkpoint | None, run_id: str) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = {}
    try:
        facts = newest.facts() if newest is not None else {}
    except UnbrokenError:
        facts = {}
    if not facts and (initial := read_initial_facts(layout, run_id)) is not None:
        facts = initial.facts
    order = facts.get("order")
    return order if isinstance(order, dict) else {}


def _against_checkpoint(path: TrainedPath, newest: Checkpoint) -> Fault | None:
    """Compare where the newest checkpoint stands with the steps up to it."""
    here, last = newest.position, path.steps[-1]
    name = newest.path.name
    if here.step > last.step:
        said = f"{name} stands after step {here.step:,}, and the journal ends at step {last.step:,}"
        return Fault("gap", last.epoch, last.step + 1, said)
    if here.step <= path.base or path.base_batch is None:
        return None
    counted_here = _batches_until(path, here)
    if counted_here is not None and counted_here != here.batch:
        kind = "gap" if counted_here < here.batch else "repeat"
        said = (
            f"{name} counts {counted(here.batch, 'step')} of epoch {here.epoch}, and the journal "
            f"has {counted_here:,} up to there"
        )
        return Fault(kind, here.epoch, here.step, said)
    return None


def _batches_until(path: TrainedPath, here: Position) -> int | None:
    """Return how many steps of an epoch the journal has up to a position; None if not all."""
    own = [each for each in path.steps if each.step <= here.step and each.epoch == here.epoch]
    is_first = path.steps[0].epoch == here.epoch
    return len(own) + (path.base_batch or 0 if is_first else 0)


def _add(fault: Fault | None, epochs: list[LedgerEpoch]) -> None:
    """Add a fault to its epoch, unless that has one already."""
    if fault is None:
        return
    epoch = next((each for each in epochs if each.number == fault.epoch), epochs[-1])
    if not epoch.faults:
        epoch.faults.append(fault)
        epoch.standing, epoch.verdict = "faulty", fault.kind.upper()


def _outcome(epochs: list[LedgerEpoch]) -> Outcome:
    standings = {each.standing for each in epochs}
    if "faulty" in standings:
        return "broken"
    return "not proved" if "unproved" in standings else "proved"


def _notes(path: TrainedPath, epochs: list[LedgerEpoch], newest: Checkpoint | None) -> list[str]:
    notes = []
    if path.base:
        notes.append(
            f"the journal begins after step {path.base:,}; it tells nothing of those before"
        )
    if (given_up := sum(each.given_up for each in epochs)) > 0:
        notes.append(
            f"{counted(given_up, 'sample')} came in steps that the loop gave up: no update"
        )
    last = path.steps[-1].step
    saved = newest.position.step if newest is not None else 0
    if last > saved:
        since = f"after step {saved:,}" if newest is not None else "at all"
        notes.append(f"{counted(last - saved, 'step')} {_are(last - saved)} in no checkpoint: nothing "
                     f"was saved {since}, so a resume repeats {_them(last - saved)}")  # fmt: skip
    return notes


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _proved(epochs: list[LedgerEpoch]) -> str:
    whole = [each for each in epochs if each.standing == "proved"]
    verdicts = [each.verdict for each in whole]
    how = "each sample was used exactly once"
    if whole and all(each.startswith("each batch") for each in verdicts):
        how = "each batch was used exactly once"
    elif any(each.startswith(AS_DRAWN) for each in verdicts):
        how = "each sample was used exactly as often as the order drew it"
    elif any(LEFT_OUT in each for each in verdicts):
        how = "no sample was used twice, and only those were left out that the order leaves out"
    text = f"Proved: in {counted(len(whole), 'whole epoch')} {how}." if whole else (
        "No epoch has come to its end.")  # fmt: skip
    is_open = len(whole) < len(epochs)
    return text + (" The others have no repeat and no gap so far." if whole and is_open else
                   " There is no repeat and no gap so far." if is_open else "")  # fmt: skip


def _broken(epochs: list[LedgerEpoch]) -> str:
    faults = [fault for each in epochs for fault in each.faults]
    first = faults[0]
    more = f" {counted(len(faults) - 1, 'more finding')} above." if len(faults) > 1 else ""
    return f"Not exactly once: epoch {first.epoch}, step {first.step:,}: {first.sentence}.{more}"


def _not_proved(epochs: list[LedgerEpoch]) -> str:
    unproved = [each for each in epochs if each.standing == "unproved"]
    listed = ", ".join(str(each.number) for each in unproved[:5]) + (
        ", …" if len(unproved) > 5 else "")  # fmt: skip
    why = "its lines have no sums of the samples"
    if all(each.verdict.endswith(BEGUN_ELSEWHERE) for each in unproved):
        why = "its beginning is not in this directory"
    return (
        f"Not proved from this journal for epoch {listed}: {why}. "
        "What was proved: no step is missing, none stands twice, repeated steps had the same samples."
    )


_SENTENCES: dict[Outcome, Callable[[list[LedgerEpoch]], str]] = {
    "proved": _proved,
    "broken": _broken,
    "not proved": _not_proved,
}


def run_directory(path: Path) -> Layout:
    """Return the run that a path names: its directory, its journal, or a checkpoint in it."""
    path = path.absolute()
    if place_in_name(path.name) is not None and path.parent.name == "checkpoints":
        return Layout(path.parent.parent)
    beside = Layout(path.parent)
    return beside if path in (beside.journal, beside.history, beside.run_file) else Layout(path)
