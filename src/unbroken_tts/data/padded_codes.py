"""Finds codes that were padded to the longest of their batch, by the recordings' durations.

The known preparation tools encode recordings in batches and keep the filler, so a model learns to
speak it. The semantic codec has a row for every two filter banks, 50 a second, and that of IndexTTS-2.5
a code for two such rows: a recording with more codes than that has filler at its end.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from unbroken_tts.data.fingerprint import data_fingerprint
from unbroken_tts.data.manifest import parse_argument
from unbroken_tts.data.pairs import Pairs

_RATE: Final = 16_000
_LONGEST_SECONDS: Final = 1e6
_TOLERANCE: Final = 1
"""Codes more than the duration gives that are no filler: resampling rounds up."""


def codes_in(seconds: float, rows_per_code: int = 1) -> int:
    """Return the number of semantic codes of a recording.

    A filter bank is 25 ms of sound, one begins every 10 ms, and a row stands for two of them, the
    last perhaps for one (the feature extractor of w2v-bert-2.0).

    Args:
        seconds: Its duration.
        rows_per_code: Rows that a code stands for, the last perhaps for fewer: 2 in IndexTTS-2.5.
    """
    samples = round(seconds * _RATE)
    banks = 1 + (samples - 400) // 160
    rows = -(-banks // 2)
    return max(0, -(-rows // rows_per_code))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedCodes:
    """The samples whose codes are longer than their recordings."""

    pairs: Pairs
    """All samples; if trimming was asked for, with the lengths of the recordings."""
    padded: int
    """Samples with filler."""
    surplus: int
    """Codes of filler, over all of them."""
    fitting: int
    """Samples with about as many codes as their recording has."""
    unknown: int
    """Samples whose duration isn't known: neither the recording nor its length is there."""
    listed: tuple[str, ...]
    """One line for each sample with filler."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the samples with the lengths of `pairs`."""
        return data_fingerprint(self.pairs)


def find_padded(
    pairs: Pairs,
    manifests: Sequence[str],
    *,
    trims: bool,
    rows_per_code: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PaddedCodes:
    """Compare the number of codes of each sample with the duration of its recording.

    Args:
        pairs: Checked samples.
        manifests: The manifest arguments they were read from.
        trims: Whether to cut the codes to the recording.
        rows_per_code: Rows that a code stands for; see `codes_in`.
        progress: Called with (recordings looked at, recordings in total).
    """
    seconds = _durations(pairs, manifests, progress)
    is_known = np.isfinite(seconds)
    found = pairs.code_lengths
    expected = np.array(
        [
            codes_in(each, rows_per_code) if known else 0
            for each, known in zip(seconds, is_known, strict=True)
        ],
        dtype=np.int64,
    )
    is_known &= expected > 0
    is_padded = is_known & (found > expected + _TOLERANCE)
    surplus = np.where(is_padded, found - expected, 0)
    listed = tuple(
        f"{pairs.where(index)} [{pairs.ids[index]}]: {found[index]} codes, {seconds[index]:.3f} s "
        f"have {expected[index]}"
        for index in np.flatnonzero(is_padded).tolist()
    )
    return PaddedCodes(
        pairs=replace(pairs, code_lengths=found - surplus) if trims else pairs,
        padded=int(is_padded.sum()),
        surplus=int(surplus.sum()),
        fitting=int((is_known & ~is_padded & (found >= expected - _TOLERANCE)).sum()),
        unknown=int((~is_known).sum()),
        listed=listed,
    )


def _durations(
    pairs: Pairs, manifests: Sequence[str], progress: Callable[[int, int], None]
) -> npt.NDArray[np.float64]:
    """Return (N,) seconds of each target: by its recording's header, else by a manifest; or NaN."""
    recordings, told = _told(manifests)
    known: dict[str, float] = {}
    targets = dict.fromkeys(pairs.code_paths)
    for done, path in enumerate(targets, start=1):
        known[path] = _measured(recordings.get(path), told.get(path, math.nan))
        progress(done, len(targets))
    return np.array([known[path] for path in pairs.code_paths], dtype=np.float64)


def _told(manifests: Sequence[str]) -> tuple[dict[str, Path], dict[str, float]]:
    """Return recording and duration of each file of codes, as the manifests tell them."""
    recordings: dict[str, Path] = {}
    told: dict[str, float] = {}
    by_name: dict[tuple[Path, str], float] = {}
    names: dict[str, tuple[Path, str]] = {}
    for manifest in manifests:
        path = Path(os.path.abspath(parse_argument(manifest).path))  # noqa: PTH100 - as load_pairs
        parent = path.parent
        for row in _rows(path):
            codes = os.path.join(parent, row["target_codes_path"])  # noqa: PTH118 - likewise
            if isinstance(row.get("target_audio_path"), str):
                recordings[codes] = parent / row["target_audio_path"]
            _keep(told, codes, row.get("duration"))
            _keep(told, codes, row.get("target_duration"))
            names[codes] = (parent, str(row.get("target_id")))
            _keep(by_name, (parent, str(row.get("prompt_id"))), row.get("prompt_duration"))
    for codes, name in names.items():
        if name in by_name:
            told.setdefault(codes, by_name[name])
    return recordings, told


def _keep(known: dict[Any, float], name: Any, seconds: Any) -> None:
    if isinstance(seconds, int | float) and 0 < seconds < _LONGEST_SECONDS:
        known[name] = float(seconds)


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a manifest, which was read and checked before."""
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    return [json.loads(line) for line in content.split(b"\n") if line.strip()]


def _measured(recording: Path | None, told: float) -> float:
    """Return the duration by the header of the recording, if it is there, else what was told."""
    if recording is None or not recording.is_file():
        return told
    import soundfile  # noqa: PLC0415 -- only where codes of the real model are checked

    try:
        header = soundfile.info(str(recording))
    except (OSError, RuntimeError):
        return told
    return header.frames / header.samplerate if header.frames > 0 else told
