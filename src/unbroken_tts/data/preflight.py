"""Looks at every line and every array before the first step, and says all that is wrong at once.

Every distinct array is read once, completely; what was learnt is remembered by path, size, mtime
and inode, so that a later start only asks the file system whether anything changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unbroken import counted
from unbroken_tts.data.array_checks import check_identities, check_roles
from unbroken_tts.data.array_facts import is_settled, read_all, same_file, stat_files
from unbroken_tts.data.facts_cache import FactsCache
from unbroken_tts.data.faults import FaultsFound, SampleFault
from unbroken_tts.data.fingerprint import data_fingerprint
from unbroken_tts.data.pairs import ROLES, Pairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from unbroken_tts.data.limits import Limits
    from unbroken_tts.data.npy import ArrayUnusable

MOST_NAMED = 5
"""Files with other content that are named; of more only the number is told."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """Samples that can be trained on, and what was learnt on the way."""

    pairs: Pairs
    """The good samples in manifest order, with `digests` filled."""
    dropped: tuple[SampleFault, ...]
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Learnt:
    facts: npt.NDArray[Any]
    """(N,) of `FACTS`, a row a file."""
    unusable: dict[int, ArrayUnusable]
    """Why, by the file's number."""
    was_read: int = 0
    """Files that were read now."""
    changed: tuple[int, ...] = ()
    """Numbers of files whose content is another than the one that was known."""
    note: str | None = None
    """Why it could not be kept."""


def preflight(
    pairs: Pairs,
    limits: Limits,
    cache: Path,
    *,
    recheck: bool = False,
    on_bad: Literal["stop", "drop"] = "stop",
    progress: Callable[[int, int], None] | None = None,
    run_data: str | None = None,
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
        run_data: Fingerprint of the run that is continued. Files with other content are then named
            where it is not the same, now and at each start until their content is back.

    Raises:
        FaultsFound: There are faults and `on_bad` is "stop", or no sample is without fault.
    """
    files: dict[str, int] = {}
    roles = {role: _file_numbers(getattr(pairs, role), files) for role in ROLES}
    paths = list(files)
    learnt = _learn(
        paths, cache, recheck=recheck, progress=progress, keeps_changed=run_data is not None
    )
    facts_by_role = {role: learnt.facts[numbers] for role, numbers in roles.items()}
    faults_at = _faults(pairs, limits, facts_by_role, roles, learnt.unusable)
    faults = [fault for index in sorted(faults_at) for fault in faults_at[index]]
    if faults and (on_bad == "stop" or len(faults_at) == len(pairs)):
        raise _report(faults, len(faults_at), len(pairs), is_dropping=on_bad == "drop")
    digests = np.stack([facts_by_role[role]["digest"] for role in ROLES], axis=1)
    good = replace(pairs, digests=digests)
    if faults_at:
        good = good.select([index for index in range(len(pairs)) if index not in faults_at])
    fingerprint = data_fingerprint(good)
    notes = _notes(learnt.note, len(faults_at), len(pairs))
    if run_data not in (None, fingerprint) and learnt.changed:
        notes += (_changed(pairs, roles, paths, learnt.changed),)
    return Checked(
        pairs=good,
        dropped=tuple(faults),
        dropped_samples=len(faults_at),
        fingerprint=fingerprint,
        arrays=len(paths),
        arrays_read=learnt.was_read,
        notes=notes,
    )


def _changed(
    pairs: Pairs,
    roles: dict[str, npt.NDArray[np.int64]],
    paths: list[str],
    changed: tuple[int, ...],
) -> str:
    """Return the sentence that names the files with other content, and a sample of each."""
    named = []
    for number in changed[:MOST_NAMED]:
        users = [index for role in ROLES for index in np.flatnonzero(roles[role] == number)[:1]]
        named.append(f"{paths[number]} (sample {pairs.ids[min(users)]})")
    more = len(changed) - len(named)
    return (
        f"{counted(len(changed), 'file')} with other content than the run was trained on: "
        f"{', '.join(named)}{f' and {more} more' if more else ''}"
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
    keeps_changed: bool,
) -> _Learnt:
    """Learn of all files what was not known.

    Args:
        paths: The files.
        cache: See `preflight`.
        recheck: See `preflight`.
        progress: See `preflight`.
        keeps_changed: Whether of a file with other content what was known stays known.
    """
    stamps, unusable = stat_files(paths)
    known = FactsCache.read(cache)
    facts = known.look_up(paths)
    before = facts.copy()
    is_known = (facts["type"] != 0) & same_file(facts, stamps)
    facts[~is_known] = 0
    wanted = np.ones(len(paths), dtype=np.bool_) if recheck else ~is_known
    wanted[list(unusable)] = False
    to_read: list[int] = np.flatnonzero(wanted).tolist()
    if not to_read:
        return _Learnt(facts=facts, unusable=unusable)
    facts[to_read] = 0
    note = None
    try:
        unusable |= read_all(paths, to_read, facts, progress)
    finally:
        # Also when interrupted: what was read need not be read again.
        read = np.array(to_read)
        is_other = (facts["digest"] != before["digest"]).any(axis=1)
        is_changed = (facts["type"] != 0) & (before["type"] != 0) & is_other
        fresh = read[(facts["type"][read] != 0) & is_settled(facts[read])]
        if keeps_changed:
            fresh = fresh[~is_changed[fresh]]
        known.remember([paths[index] for index in fresh.tolist()], facts[fresh])
        note = known.write()
    return _Learnt(
        facts=facts,
        unusable=unusable,
        was_read=len(to_read),
        changed=tuple(np.flatnonzero(is_changed).tolist()),
        note=note,
    )


def _faults(
    pairs: Pairs,
    limits: Limits,
    facts_by_role: dict[str, npt.NDArray[Any]],
    roles: dict[str, npt.NDArray[np.int64]],
    unusable: dict[int, ArrayUnusable],
) -> dict[int, list[SampleFault]]:
    """Return all faults by sample: identity first, then the arrays in the order of `ROLES`."""
    faults: dict[int, list[SampleFault]] = {}

    def add(index: int, kind: Any, detail: str) -> None:
        faults.setdefault(index, []).append(
            SampleFault(
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


def _report(faults: list[SampleFault], bad: int, total: int, *, is_dropping: bool) -> FaultsFound:
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
