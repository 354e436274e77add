"""Looks at every line and every array before the first step, and says all that is wrong at once.

Every distinct array is read once, completely; what was learnt is remembered by path, size, mtime
and inode, so that a later start only asks the file system whether anything changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unbroken_tts.data.array_checks import check_identities, check_roles
from unbroken_tts.data.array_facts import is_settled, read_all, same_file, stat_files
from unbroken_tts.data.facts_cache import FactsCache
from unbroken_tts.data.faults import Fault, FaultsFound
from unbroken_tts.data.fingerprint import data_fingerprint
from unbroken_tts.data.pairs import ROLES, Pairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from unbroken_tts.data.limits import Limits
    from unbroken_tts.data.npy import ArrayUnusable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """Samples that can be trained on, and what was learnt on the way."""

    pairs: Pairs
    """The good samples in manifest order, with `digests` filled."""
    dropped: tuple[Fault, ...]
    """Every fault of every sample left out, in manifest order; empty unless dropping was asked."""
    dropped_samples: int
    """Samples left out; a sample may have several faults."""
    fingerprint: str
    """32 hex digits over ids, lengths and array digests of the good samples, never over paths."""
    arrays: int
    """Distinct array files the manifests name."""
    arrays_read: int
    """Of these, how many had to be read now; the others were known."""
    notes: tuple[str, ...]
    """What a user should know but what stops nothing, one sentence each."""


def preflight(
    pairs: Pairs,
    limits: Limits,
    cache: Path,
    *,
    recheck: bool = False,
    on_bad: Literal["stop", "drop"] = "stop",
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Check all samples and return the good ones.

    Args:
        pairs: Columns from `load_pairs`.
        limits: What the model can take.
        cache: File that keeps what was learnt about the arrays between starts; several data sets
            may share one, one process after the other.
        recheck: Read every array again, whatever the cache says.
        on_bad: With "stop" any fault is an error; with "drop" faulty samples are left out (of
            two with the same id the later). A sample is never replaced by another.
        progress: Called with (arrays read so far, arrays to read); not when nothing is to read.

    Raises:
        FaultsFound: There are faults and `on_bad` is "stop", or no sample is without fault.
    """
    files: dict[str, int] = {}
    roles = {role: _file_numbers(getattr(pairs, role), files) for role in ROLES}
    paths = list(files)
    facts, unusable, was_read, note = _learn(paths, cache, recheck=recheck, progress=progress)
    facts_by_role = {role: facts[numbers] for role, numbers in roles.items()}
    faults_at = _faults(pairs, limits, facts_by_role, roles, unusable)
    faults = [fault for index in sorted(faults_at) for fault in faults_at[index]]
    if faults and (on_bad == "stop" or len(faults_at) == len(pairs)):
        raise _report(faults, len(faults_at), len(pairs), is_dropping=on_bad == "drop")
    digests = np.stack([facts_by_role[role]["digest"] for role in ROLES], axis=1)
    good = replace(pairs, digests=digests)
    if faults_at:
        good = good.select([index for index in range(len(pairs)) if index not in faults_at])
    return Checked(
        pairs=good,
        dropped=tuple(faults),
        dropped_samples=len(faults_at),
        fingerprint=data_fingerprint(good),
        arrays=len(paths),
        arrays_read=was_read,
        notes=_notes(note, len(faults_at), len(pairs)),
    )


def overlap_note(train: Pairs, validation: Pairs) -> str | None:
    """Return a warning when validation samples are also trained on, else None."""
    same_ids = len(set(train.ids) & set(validation.ids))
    same_targets = len(set(train.target_ids) & set(validation.target_ids))
    if not same_ids and not same_targets:
        return None
    return (
        f"{same_ids} pair ids and {same_targets} target utterances stand in both the training "
        "and the validation manifests: validation losses will look better than they are."
    )


def _file_numbers(paths: tuple[str, ...], files: dict[str, int]) -> npt.NDArray[np.int64]:
    """Return each path's number in `files`, giving new paths the next ones."""
    numbers = (files.setdefault(path, len(files)) for path in paths)
    return np.fromiter(numbers, np.int64, len(paths))


def _learn(
    paths: list[str],
    cache: Path,
    *,
    recheck: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[npt.NDArray[Any], dict[int, ArrayUnusable], int, str | None]:
    """Return the facts of all files, what is unusable, how many were read, and a note."""
    stamps, unusable = stat_files(paths)
    known = FactsCache.read(cache)
    facts = known.look_up(paths)
    is_known = (facts["type"] != 0) & same_file(facts, stamps)
    facts[~is_known] = 0
    wanted = np.ones(len(paths), dtype=np.bool_) if recheck else ~is_known
    wanted[list(unusable)] = False
    to_read: list[int] = np.flatnonzero(wanted).tolist()
    if not to_read:
        return facts, unusable, 0, None
    facts[to_read] = 0
    note = None
    try:
        unusable |= read_all(paths, to_read, facts, progress)
    finally:
        # Also when interrupted: what was read need not be read again.
        read = np.array(to_read)
        fresh = read[(facts["type"][read] != 0) & is_settled(facts[read])]
        known.remember([paths[index] for index in fresh.tolist()], facts[fresh])
        note = known.write()
    return facts, unusable, len(to_read), note


def _faults(
    pairs: Pairs,
    limits: Limits,
    facts_by_role: dict[str, npt.NDArray[Any]],
    roles: dict[str, npt.NDArray[np.int64]],
    unusable: dict[int, ArrayUnusable],
) -> dict[int, list[Fault]]:
    """Return all faults by sample: identity first, then the arrays in the order of `ROLES`."""
    faults: dict[int, list[Fault]] = {}

    def add(index: int, kind: Any, detail: str) -> None:
        faults.setdefault(index, []).append(
            Fault(
                manifest=pairs.manifests[int(pairs.manifest_numbers[index])],
                line=int(pairs.line_numbers[index]),
                kind=kind,
                detail=detail,
                pair_id=pairs.ids[index],
            )
        )

    for index, kind, detail in check_identities(pairs):
        add(index, kind, detail)
    broken = np.array(sorted(unusable), dtype=np.int64)
    for role in ROLES:
        for index in np.flatnonzero(np.isin(roles[role], broken)).tolist():
            reason = unusable[int(roles[role][index])]
            add(index, reason.kind, f"{getattr(pairs, role)[index]} {reason.detail}")
    for role, (index, kind, detail) in check_roles(pairs, facts_by_role, limits):
        add(index, kind, f"{getattr(pairs, role)[index]} {detail}")
    return faults


def _report(faults: list[Fault], bad: int, total: int, *, is_dropping: bool) -> FaultsFound:
    if is_dropping:
        remedy = "Check that manifests, tokenizer and model configuration belong together."
    else:
        remedy = (
            "Mend the data (a new run can leave faulty samples out: `--on-bad-sample drop`); when most "
            "are faulty, check that manifests, tokenizer and model configuration belong together."
        )
    return FaultsFound(
        faults,
        f"{bad} of {total} samples can't be trained on",
        "Training on them would crash, or learn from wrong data in silence.",
        remedy,
    )


def _notes(cache_note: str | None, bad: int, total: int) -> tuple[str, ...]:
    notes = [] if cache_note is None else [cache_note]
    if bad:
        notes.append(f"{bad} of {total} samples are faulty and were left out.")
    return tuple(notes)
