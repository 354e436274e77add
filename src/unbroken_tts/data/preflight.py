"""Checks every line and every array before the first step, and reports all faults at once.

Every distinct array is read once, completely. The results are cached by path, size, mtime and
inode, so a later start only asks the file system whether anything changed.
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
"""Largest number of changed files to name; of more only the number is given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """The result of a preflight: the good samples, and the faults of the others."""

    pairs: Pairs
    """The good samples in manifest order, with `digests` filled."""
    dropped: tuple[SampleFault, ...]
    """Every fault of every dropped sample, in manifest order; empty with `on_bad="stop"`."""
    dropped_samples: int
    """Number of dropped samples; a sample may have several faults."""
    fingerprint: str
    """32 hex digits over ids, lengths and array digests of the good samples, never over paths."""
    first_ids: npt.NDArray[np.int64]
    """(N,) the first text id of each good sample."""
    arrays: int
    """Number of distinct array files in the manifests."""
    arrays_read: int
    """Number of these that were read now; the others were cached."""
    notes: tuple[str, ...]
    """Notes for the user, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Learnt:
    facts: npt.NDArray[Any]
    """(N,) of `FACTS`, one row per file."""
    unusable: dict[int, ArrayUnusable]
    """The unusable files, by number."""
    was_read: int = 0
    """Number of files read now."""
    changed: tuple[int, ...] = ()
    """Numbers of files whose content differs from the cached digest."""
    note: str | None = None
    """Why the cache could not be written, if so."""


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
        limits: The model's limits.
        cache: File with the results about the arrays of earlier starts; several data sets may
            share one, but not at the same time.
        recheck: Read every array again, ignoring the cache.
        on_bad: With "stop" any fault is an error; with "drop" faulty samples are dropped (of two
            with the same id the later). A sample is never replaced by another.
        progress: Called with (arrays read so far, arrays to read), unless none has to be read.
        run_data: Data fingerprint of the run to resume. If the data differs, the changed files are
            named, at each start until their content is restored.

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
    kept = [index for index in range(len(pairs)) if index not in faults_at]
    if faults_at:
        good = good.select(kept)
    fingerprint = data_fingerprint(good)
    notes = _notes(learnt.note, len(faults_at), len(pairs))
    if run_data not in (None, fingerprint) and learnt.changed:
        notes += (_changed(pairs, roles, paths, learnt.changed),)
    return Checked(
        pairs=good,
        dropped=tuple(faults),
        dropped_samples=len(faults_at),
        fingerprint=fingerprint,
        first_ids=facts_by_role["text_paths"]["first"][kept].astype(np.int64),
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
    """Return a sentence that names the changed files, and a sample of each."""
    named = []
    for number in changed[:MOST_NAMED]:
        users = [index for role in ROLES for index in np.flatnonzero(roles[role] == number)[:1]]
        named.append(f"{paths[number]} (sample {pairs.ids[min(users)]})")
    more = len(changed) - len(named)
    return (
        f"{counted(len(changed), 'file')} changed since the run was trained on them: "
        f"{', '.join(named)}{f' and {more} more' if more else ''}"
    )


def overlap_note(train: Pairs, validation: Pairs) -> str | None:
    """Return a warning if validation samples are also training samples, else None."""
    same_ids = len(set(train.ids) & set(validation.ids))
    same_targets = len(set(train.target_ids) & set(validation.target_ids))
    if not same_ids and not same_targets:
        return None
    return (
        f"{same_ids} pair ids and {same_targets} target utterances are in both the training and "
        "the validation manifests: validation losses will look better than they are."
    )


def _file_numbers(paths: tuple[str, ...], files: dict[str, int]) -> npt.NDArray[np.int64]:
    """Return each path's number in `files`; new paths get the next numbers."""
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
    """Return the facts of all files, read where they aren't cached.

    Args:
        paths: The files.
        cache: See `preflight`.
        recheck: See `preflight`.
        progress: See `preflight`.
        keeps_changed: Whether to keep the cached facts of changed files.
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
        # Also after an interruption, so that nothing is read twice.
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
    """Return all faults by sample: first of ids, then of arrays in the order of `ROLES`."""
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
            "Correct the data (a new run can drop faulty samples: `--on-bad-sample drop`); if most are "
            "faulty, check that manifests, tokenizer and model configuration belong together."
        )
    return FaultsFound(
        faults,
        f"{bad} of {total} samples can't be trained on",
        "Training on them would crash, or silently learn from wrong data.",
        remedy,
    )


def _notes(cache_note: str | None, bad: int, total: int) -> tuple[str, ...]:
    notes = [] if cache_note is None else [cache_note]
    if bad:
        notes.append(f"{bad} of {total} samples are faulty and were dropped.")
    return tuple(notes)
