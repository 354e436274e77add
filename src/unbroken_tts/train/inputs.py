"""Reads and checks everything that a training needs before its first step."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken import ResumeRefused
from unbroken_tts.data.limits import Limits
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.origin import FeatureOrigin
from unbroken_tts.data.preflight import Checked, overlap_note, preflight
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.tokenizer_match import check_matches
from unbroken_tts.model.config import GptConfig
from unbroken_tts.settings import TrainSettings
from unbroken_tts.settings_flags import flag
from unbroken_tts.train.console import Console
from unbroken_tts.train.feature_origin import known_origin, require_own_version
from unbroken_tts.train.filler import without_filler
from unbroken_tts.train.model_config import model_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of a training."""

    config: GptConfig
    tokenizer: Tokenizer
    train: Checked
    validation: Checked
    origin: FeatureOrigin | None
    """What made the features; None if it isn't known."""


def read_inputs(
    settings: TrainSettings,
    console: Console,
    root: Path,
    saved: dict[str, Any] | None,
    *,
    is_resumed: bool,
) -> Inputs:
    """Read configuration, tokenizer and manifests, and check every array.

    Args:
        settings: The settings of this start.
        console: Receives notes and the progress of the preflight.
        root: The run's directory, where the results about the arrays are cached.
        saved: The facts of the run to continue, if any.
        is_resumed: Whether it continues from a checkpoint, whose tables have one row per piece.

    Raises:
        DataInvalid: A file is missing or damaged, or doesn't belong to the others.
        SettingsInvalid: The features were made with other encoders than the model's.
        ResumeRefused: The tokenizer has another number of pieces than the run's.
    """
    config = model_config(settings, saved)
    tokenizer = open_tokenizer(settings.tokenizer)
    if saved is not None and is_resumed:
        _require_same_vocabulary(tokenizer, saved, settings, root)
    limits = Limits(
        vocabulary=tokenizer.vocabulary,
        start_mel_token=config.start_mel_token,
        max_text_tokens=config.max_text_tokens,
        max_mel_tokens=config.max_mel_tokens,
        condition_rows=config.condition_shape[0],
        condition_width=config.condition_shape[1],
        model_dim=config.model_dim,
        **_languages(tokenizer, saved),
        first_text_id=0
        if saved is not None
        else tokenizer.first_text_id({config.start_text_token, config.stop_text_token}),
    )
    origin = known_origin(settings, console)
    require_own_version(origin, config, settings)
    cache = root / "preflight.cache"
    run_data = None if saved is None else saved.get("data", {}).get("train")
    train = _checked("train", settings.train_manifest, limits, settings, console, cache, run_data)
    validation = _checked("validation", settings.val_manifest, limits, settings, console, cache)
    overlap = overlap_note(train.pairs, validation.pairs)
    if overlap:
        console.line(f"NOTE: {overlap}")
    if saved is None or saved.get("tokenizer") == tokenizer.digest:
        check_matches(train.pairs, tokenizer)
    # A tokenizer that isn't the run's is refused later, with all other facts that differ.
    return Inputs(
        config=config, tokenizer=tokenizer, train=train, validation=validation, origin=origin
    )


def _languages(tokenizer: Tokenizer, saved: dict[str, Any] | None) -> dict[str, Any]:
    """Return the limits that language tokens set; a tokenizer that isn't the run's is refused later."""
    if saved is not None and saved.get("tokenizer") != tokenizer.digest:
        return {}
    return {"first_language_id": tokenizer.first_language_id, "languages": tokenizer.languages}


def _checked(
    what: str,
    manifests: tuple[str, ...],
    limits: Limits,
    settings: TrainSettings,
    console: Console,
    cache: Path,
    run_data: str | None = None,
) -> Checked:
    pairs = load_pairs(manifests)
    with console.progress(f"Checking the {what} data", total=1) as report:
        checked = preflight(
            pairs,
            limits,
            cache,
            recheck=settings.recheck,
            on_bad=settings.on_bad_sample,
            progress=report,
            run_data=run_data,
        )
    console.line(
        f"Data ({what}): {len(checked.pairs)} samples, {checked.arrays} arrays, "
        f"{checked.arrays_read} read now"
    )
    for note in checked.notes:
        console.line(f"NOTE: {what}: {note}")
    for fault in checked.dropped:
        console.line(f"Dropped: {fault}")
    return without_filler(what, checked, manifests, settings, console)


def _require_same_vocabulary(
    tokenizer: Tokenizer, saved: dict[str, Any], settings: TrainSettings, root: Path
) -> None:
    before = saved.get("vocabulary")
    now = tokenizer.vocabulary
    if before != now:
        new_run = (
            f", or begin a new run from its weights:\n  {new_run_command(settings, root, now)}"
            if before is not None and now > before
            else ""
        )
        raise ResumeRefused(
            f"The tokenizer {settings.tokenizer} has {now} pieces, the run's had {before}.",
            "The text tables have one row per piece, so the saved state fits only its own vocabulary. "
            "Nothing was changed.",
            f"Resume with the run's tokenizer{new_run or '.'}",
        )


def new_run_command(settings: TrainSettings, root: Path, vocabulary: int) -> str:
    """Return the command that begins a new run from a run's weights with these settings."""
    words = ["unbroken-tts", "train"]
    for name, value in settings.model_dump(mode="json", exclude_unset=True).items():
        if name in {"resume", "init_from", "base_tokenizer", "output_dir"} or value is None:
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(name).replace("--", "--no-", 1))
            continue
        for each in value if isinstance(value, list) else [value]:
            words += [flag(name), str(each)]
    words += ["--init-from", str(root), "--output-dir", f"{root}-{vocabulary}"]
    return shlex.join(words)
