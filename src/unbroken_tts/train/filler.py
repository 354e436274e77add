"""Tells of codes that are padded to the longest of their batch, and cuts them if asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unbroken import DataInvalid, SettingsInvalid, counted
from unbroken_tts.data.manifest import parse_argument
from unbroken_tts.data.origin import origin_of
from unbroken_tts.data.padded_codes import PaddedCodes, find_padded
from unbroken_tts.data.preflight import Checked
from unbroken_tts.model.config import code_book_of, rows_per_code_of
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.console import Console

_LISTED = 5


def without_filler(
    what: str,
    checked: Checked,
    manifests: Sequence[str],
    settings: TrainSettings,
    console: Console,
) -> Checked:
    """Look for filler in codes of other tools; with `--trim-codes` return the samples without it.

    Args:
        what: Name of the data, for messages.
        checked: The samples.
        manifests: The manifest arguments they were read from.
        settings: The settings of this start.
        console: Receives what was found.

    Raises:
        SettingsInvalid: --trim-codes was given for codes whose rate isn't known.
        DataInvalid: It was given, and no duration fits its codes.
    """
    if code_book_of(settings.config) is None:
        if settings.trim_codes:
            raise SettingsInvalid(
                f"--trim-codes was given, and {settings.config} names no semantic codec.",
                "Filler is found by the 50 or 25 codes a second of the real IndexTTS2; the rate of "
                "these codes isn't known.",
                "Omit --trim-codes, or name the config.yaml that belongs to the base checkpoint.",
            )
        return checked
    if all(origin_of(Path(parse_argument(each).path)) is not None for each in manifests):
        return checked  # `unbroken-tts prepare` encodes one recording at a time
    rows = rows_per_code_of(settings.config)
    with console.progress(f"Checking the durations of the {what} data", total=1) as report:
        found = find_padded(
            checked.pairs,
            manifests,
            trims=settings.trim_codes,
            rows_per_code=rows,
            progress=report,
        )
    for line in _told(what, found, len(checked.pairs), is_cut=settings.trim_codes):
        console.line(line)
    if not settings.trim_codes:
        return checked
    if found.padded and not found.fitting:
        raise DataInvalid(
            f"--trim-codes would cut {found.padded} of {len(checked.pairs)} samples, and no sample of the "
            f"{what} data has as many codes as its recording lasts, at {50 / rows:g} a second.",
            "The longest recording of every batch has no filler, so these durations are not those of "
            "the codes: perhaps they are not in seconds.",
            "Correct the durations in the manifest, or omit --trim-codes.",
        )
    return replace(checked, pairs=found.pairs, fingerprint=found.fingerprint)


def _told(what: str, found: PaddedCodes, samples: int, *, is_cut: bool) -> list[str]:
    lines = []
    if found.unknown:
        lines.append(
            f"NOTE: {what}: of {found.unknown} of {samples} samples neither the recording nor its "
            "duration is there, so filler at the end of their codes would not be found"
        )
    if found.padded:
        remedy = (
            "cut off" if is_cut else "the model would learn to speak it; cut it with --trim-codes"
        )
        lines.append(
            f"NOTE: {what}: {counted(found.padded, 'sample')} of {samples} have more codes than their "
            f"recordings last, {found.surplus} codes of filler in all: {remedy}"
        )
        lines += [f"  {line}" for line in found.listed[:_LISTED]]
        if len(found.listed) > _LISTED:
            lines.append(f"  and {len(found.listed) - _LISTED} more")
    return lines
