"""Puts the ledgers of the processes of a run together: what each proves, and what they used in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unbroken.doctor.ledger_epochs import AS_DRAWN, LedgerEpoch, sum_of_numbers
from unbroken.doctor.ledger_path import Fault
from unbroken.order.sample_sum import MODULUS


def over_ranks(every: Sequence[Sequence[LedgerEpoch]]) -> list[LedgerEpoch]:
    """Return the epochs of a run that several processes train.

    Args:
        every: The epochs of each rank, as its own journal proves them; the leader first.
    """
    found = []
    for first in every[0]:
        same = [[each for each in own if each.number == first.number][:1] for own in every]
        found.append(_together(first, [each for own in same for each in own], len(every)))
    return found


def _together(first: LedgerEpoch, parts: list[LedgerEpoch], ranks: int) -> LedgerEpoch:
    """Return one epoch over all ranks."""
    samples, total = sum(each.samples for each in parts), sum(each.total for each in parts)
    is_shared = len({each.total for each in parts}) == 1  # each line tells the whole step's samples
    if is_shared:
        samples, total = first.samples, first.total
    whole = replace(first, samples=samples, total=total % MODULUS)
    whole.faults = [
        Fault(kind, epoch, step, said if rank == 0 else f"rank {rank}: {said}")
        for rank, each in enumerate(parts)
        for kind, epoch, step, said in each.faults
    ]
    standings = {each.standing for each in parts}
    if standings == {"proved"} and len({each.last for each in parts}) > 1:
        told = ", ".join(f"{each.last:,}" for each in parts)
        said = f"the ranks ended epoch {first.number} after different steps: {told}"
        whole.faults.append(Fault("gap", first.number, min(each.last for each in parts), said))
    if whole.faults:
        whole.standing, whole.verdict = "faulty", whole.faults[0].kind.upper()
    elif "unproved" in standings:
        whole.standing = "unproved"
        whole.verdict = next(each.verdict for each in parts if each.standing == "unproved")
    elif "open" in standings or len(parts) < ranks:
        whole.standing, whole.verdict = "open", f"no repeat and no gap so far, by {ranks} ranks"
    elif is_shared:
        whole.verdict = f"{first.verdict}, by {ranks} ranks"
    else:
        whole.verdict = _of_all(whole, ranks)
    return whole


def _of_all(whole: LedgerEpoch, ranks: int) -> str:
    """Return the verdict of an epoch of which each rank has proved its own part."""
    of = whole.of
    if of is not None and whole.samples == of and sum_of_numbers(of) == whole.total:
        return f"each once, by {ranks} ranks (0 to N-1, recomputed)"
    return f"{AS_DRAWN} for each of {ranks} ranks; not compared across them"
