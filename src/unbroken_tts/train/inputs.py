"""Everything a training reads before its first step, checked, with all faults said at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken.errors import ResumeRefused
from unbroken_tts.data.limits import Limits
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.preflight import Checked, overlap_note, preflight
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.tokenizer_match import check_matches
from unbroken_tts.model.config import GptConfig
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What was read."""

    config: GptConfig
    tokenizer: Tokenizer
    train: Checked
    validation: Checked


def read_inputs(settings: TrainSettings, console: Console, saved: dict[str, Any] | None) -> Inputs:
    """Read configuration, tokenizer and manifests, and look at every array.

    Args:
        settings: What the user asked for.
        console: Receives notes and the progress of the preflight.
        saved: The facts of the checkpoint that is continued, if any.

    Raises:
        DataInvalid: A file is missing or damaged, or belongs to another.
        ResumeRefused: The tokenizer has another number of pieces than the run's.
    """
    config = GptConfig.from_yaml(settings.config)
    tokenizer = Tokenizer(settings.tokenizer)
    if saved is not None:
        _require_same_vocabulary(tokenizer, saved, settings)
    limits = Limits(
        vocabulary=tokenizer.vocabulary,
        start_mel_token=config.start_mel_token,
        max_text_tokens=config.max_text_tokens,
        max_mel_tokens=config.max_mel_tokens,
        condition_rows=config.condition_num_latent,
        model_dim=config.model_dim,
    )
    train = _checked("train", settings.train_manifest, limits, settings, console)
    validation = _checked("validation", settings.val_manifest, limits, settings, console)
    overlap = overlap_note(train.pairs, validation.pairs)
    if overlap:
        console.line(f"NOTE: {overlap}")
    check_matches(train.pairs, tokenizer)
    return Inputs(config=config, tokenizer=tokenizer, train=train, validation=validation)


def _checked(
    what: str,
    manifests: tuple[str, ...],
    limits: Limits,
    settings: TrainSettings,
    console: Console,
) -> Checked:
    pairs = load_pairs(manifests)
    cache = settings.output_dir / "preflight.cache"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with console.progress(f"Checking the {what} data", total=1) as report:
        checked = preflight(
            pairs,
            limits,
            cache,
            recheck=settings.recheck,
            on_bad=settings.on_bad_sample,
            progress=report,
        )
    console.line(
        f"Data ({what}): {len(checked.pairs)} samples, {checked.arrays} arrays, "
        f"{checked.arrays_read} read now"
    )
    for note in checked.notes:
        console.line(f"NOTE: {what}: {note}")
    for fault in checked.dropped:
        console.line(f"Dropped: {fault}")
    return checked


def _require_same_vocabulary(
    tokenizer: Tokenizer, saved: dict[str, Any], settings: TrainSettings
) -> None:
    before = saved.get("vocabulary")
    if before != tokenizer.vocabulary:
        weights = Path(settings.output_dir)
        raise ResumeRefused(
            f"The tokenizer has {tokenizer.vocabulary} pieces, the checkpoint's had {before}.",
            "The text tables have one row a piece: the state fits only its own vocabulary. "
            "Nothing was applied.",
            f"Resume with the run's tokenizer, or begin a new run from its weights: "
            f"--init-from {weights} --output-dir NEW_DIRECTORY (without --resume).",
        )
