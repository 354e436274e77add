"""Finds the run to continue, or the weights that a new run starts with."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unbroken import (
    DataInvalid,
    NoUsableCheckpoint,
    ResumeSource,
    RunDirectory,
    SaveFailed,
    SettingsInvalid,
    atomic_write,
    find_source,
    write_tensors,
)
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.export.folder import PROVENANCE
from unbroken_tts.model.adapters import begin_adapters
from unbroken_tts.model.base import (
    BaseWeights,
    base_weights,
    load_base,
    read_base,
    require_readable,
)
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.new_rows import respelt
from unbroken_tts.model.published_forms import FormChoice
from unbroken_tts.model.trained_part import TrainedPart
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.base_rows import BaseRows, find_base_tokenizer, prove_rows
from unbroken_tts.train.frozen_base import frozen_digest
from unbroken_tts.train.language_row import LANGUAGE_ROW, first_values, start_note
from unbroken_tts.train.load import Loaded, load_weights, untrained_encoders_file
from unbroken_tts.train.part import TRAINED_PART, counts_of, part_of, saved_part


def find_run(settings: TrainSettings) -> ResumeSource:
    """Find the run or checkpoint to continue from, without changing anything.

    Raises:
        SettingsInvalid: --init-from and --resume were both given.
        NoUsableCheckpoint: There is nothing to continue.
    """
    if settings.init_from is not None and settings.resume:
        raise SettingsInvalid(
            f"--init-from {settings.init_from} and --resume {settings.resume} were both given.",
            "The first begins a new run from weights, the second continues a run; mixed, optimiser, "
            "schedule and data order would belong to neither.",
            "Begin with --init-from alone. To continue later, replace it by --resume auto.",
        )
    how = settings.resume
    output = settings.output_dir
    if how and how not in ("auto", "latest"):
        return _explicit(Path(how))
    return find_source(output, how)


def _explicit(path: Path) -> ResumeSource:
    if path.parent.name == RunDirectory(path).earlier.name:
        # The move of this run may have been interrupted between two renames.
        RunDirectory(path.parent.parent).finish_moving()
    owner = path.parent if path.name in ("latest", "latest.pth") else path
    if path.is_file() and path.suffix == ".pth" and RunDirectory(owner).run_id is None:
        raise NoUsableCheckpoint(
            f"{path} is not a checkpoint of this trainer, but a file of weights or of the earlier trainer.",
            "--resume continues a run of this trainer, in its own directory.",
            f"To continue the old run that wrote it, use `unbroken-tts rescue {path} --output-dir "
            f"NEW_DIRECTORY`. To begin a new run from its weights: --init-from {path} (without "
            "--resume).",
        )
    return find_source(path, str(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialWeights:
    """The model that a start begins with, and where its weights came from."""

    model: VoiceGpt
    """In host memory; its weights are undefined if a checkpoint will be restored into it."""
    part: TrainedPart | None
    """What of it is trained; None for everything."""
    frozen_base: str | None = None
    """Digest of the layers of the base that aren't; None where it is all, or a run was the base."""
    untrained_encoders: dict[str, torch.Tensor] | None
    """The untrained encoders of a new run; None when a checkpoint is resumed."""
    base: str
    """Where the weights came from."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The facts of the run that they came from, if it was one."""
    notes: tuple[str, ...] = ()
    """Remarks on the file they came from, to be printed."""
    base_rows: dict[str, Any] | None = None
    """What was proved of the base's rows when the run began, for its facts."""
    lines: tuple[str, ...] = ()
    """What was found out about the base's rows, to be printed at once."""
    rescued: dict[str, Any] | None = None
    """The file of the earlier trainer that the run was taken over from, as a fact; None for none."""


def new_model(
    settings: TrainSettings, config: GptConfig, tokenizer: Tokenizer, language: int | None = None
) -> InitialWeights:
    """Build the model of a new run and load or initialise its weights.

    Rows of the text tables are the base's where its tokenizer proves it (`base_rows`).

    Args:
        settings: The settings of the run.
        config: The model.
        tokenizer: The run's.
        language: Row of the language table that is trained; None for none.

    Raises:
        DataInvalid: The weights file is missing or damaged.
        SettingsInvalid: The weights don't fit the configuration or the tokenizer.
    """
    source = str(settings.init_from or settings.base_checkpoint)
    vocabulary = tokenizer.vocabulary
    if source == "none":
        part = part_of(settings, config, is_same_vocabulary=False)
        model = _model(settings, config, vocabulary, 0, part, language)
        model.initialise(settings.seed)
        return InitialWeights(
            model=model,
            part=part,
            untrained_encoders=fresh_untrained_encoders(config, settings.seed),
            base="fresh weights",
        )
    base, rows, facts = _base(settings, Path(source), tokenizer)
    config = base.config_for(config)
    part = part_of(settings, config, is_same_vocabulary=rows.are_all_the_bases)
    model = _model(settings, config, vocabulary, rows.frozen, part, language)
    load_base(model, base if rows.plan is None else respelt(base, rows.plan))
    first = None if model.lang_embedding is None else first_values(settings, tokenizer)
    if first is not None and model.lang_embedding is not None:
        model.lang_embedding.start_from(first)
    begin_adapters(model, settings.seed)
    return InitialWeights(
        model=model,
        part=part,
        frozen_base=frozen_digest(base, part) if part and settings.init_from is None else None,
        untrained_encoders=base.untrained_encoders,
        base=source,
        facts=facts,
        notes=base.notes,
        base_rows=rows.facts,
        lines=(
            *rows.notes,
            *(() if language is None else [start_note(settings, tokenizer, language)]),
        ),
    )


def require_weights(settings: TrainSettings) -> None:
    """Refuse weights that a new run can't start from, before hours of data are checked.

    Only the form of a file is looked at; its shapes are compared when it is loaded.

    Raises:
        DataInvalid: The file is missing, damaged or foreign.
        SettingsInvalid: It is of another family, or doesn't say which weights it means.
    """
    source = settings.init_from or settings.base_checkpoint
    if str(source) == "none":
        return
    path, choice = Path(source), _choice(settings)
    _require_there(path)
    choice.require_file(path)
    if not path.is_dir():
        require_readable(path, choice)


def _choice(settings: TrainSettings) -> FormChoice:
    return FormChoice(entry=settings.weights_entry, adapter_alpha=settings.adapter_alpha)


def _require_there(path: Path) -> None:
    if not path.exists():
        raise DataInvalid(
            f"The base checkpoint {path} does not exist.",
            "A new run needs weights to start from.",
            "Name a gpt.pth with --base-checkpoint, or start fresh with --base-checkpoint none.",
        )


def _base(
    settings: TrainSettings, path: Path, tokenizer: Tokenizer
) -> tuple[BaseWeights, BaseRows, Mapping[str, Any]]:
    """Return the weights, what is proved of their rows, and the facts of the run they came from."""
    _require_there(path)
    run_facts = None
    if path.is_dir():
        loaded = _weights_of(path)
        run_facts = loaded.facts
        weights = base_weights(
            {**loaded.untrained_encoders, **loaded.model.table()}, origin=str(path)
        )
        pieces = loaded.model.frozen_rows or weights.vocabulary
    else:
        weights = read_base(path, _choice(settings))
        pieces = _frozen_in_export(path) or weights.vocabulary
        if settings.init_from is not None and Path(settings.base_checkpoint).is_file():
            # A file with an extended vocabulary doesn't record how many of its rows are the base's.
            pieces = min(pieces, read_base(Path(settings.base_checkpoint)).vocabulary)
    found = find_base_tokenizer(settings, path, weights, tokenizer, run_facts)
    rows = prove_rows(settings, weights, pieces, found, tokenizer)
    return weights, rows, run_facts or {}


def _frozen_in_export(path: Path) -> int | None:
    """Return how many rows of an exported file were frozen in its training; None for other files."""
    try:
        known = json.loads((path.parent / PROVENANCE).read_text(encoding="utf-8"))
        frozen = known["frozen_rows"] if path.name in known["files"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return frozen if isinstance(frozen, int) and frozen > 0 else None


def _weights_of(directory: Path) -> Loaded:
    try:
        return load_weights(directory)
    except NoUsableCheckpoint as error:
        raise DataInvalid(
            f"{directory} has no weights to start from: {error.what}",
            "A new run needs the weights of a complete checkpoint, or of a file.",
            "Name a run of this trainer, one of its checkpoints, or a gpt.pth.",
        ) from error


def saved_model(settings: TrainSettings, facts: dict[str, Any]) -> InitialWeights:
    """Build the model that a checkpoint will be restored into."""
    config = GptConfig.from_mapping(facts["model"], origin="the checkpoint's facts")
    part = saved_part(facts)
    language = facts.get(LANGUAGE_ROW)
    model = _model(settings, config, facts["vocabulary"], facts["frozen_rows"], part, language)
    return InitialWeights(
        model=model,
        part=part,
        frozen_base=facts.get(TRAINED_PART, {}).get("base"),
        untrained_encoders=None,
        base=facts["base"],
        base_rows=facts.get("base_rows"),
        rescued=facts.get("rescued"),
    )


def _model(
    settings: TrainSettings,
    config: GptConfig,
    vocabulary: int,
    frozen: int,
    part: TrainedPart | None,
    language: int | None = None,
) -> VoiceGpt:
    return VoiceGpt(
        config,
        vocabulary,
        frozen,
        checkpointing=settings.grad_checkpointing,
        dropout=settings.dropout,
        part=part,
        language=language,
    )


def parameter_numbers(
    settings: TrainSettings, config: GptConfig, vocabulary: int, facts: dict[str, Any] | None
) -> tuple[int, int]:
    """Return how many parameters a start will train, and how many not, before any has memory.

    Args:
        settings: The settings to train with.
        config: Of a new run.
        vocabulary: Pieces of the tokenizer of a new run.
        facts: Of the run to continue; None for a new one.
    """
    with torch.device("meta"):
        if facts is None:
            part = part_of(settings, config, is_same_vocabulary=False)
            model = _model(settings, config, vocabulary, 0, part)
        else:
            model = saved_model(settings, facts).model
    return counts_of(model)


def keep_untrained_encoders(root: Path, untrained_encoders: dict[str, torch.Tensor] | None) -> None:
    """Save the untrained encoders once per run; checkpoints don't contain them."""
    if untrained_encoders is None:
        return
    place = untrained_encoders_file(root)
    try:
        with atomic_write(place, place.with_suffix(".tmp")) as aside:
            write_tensors(
                aside, {name: each.contiguous() for name, each in untrained_encoders.items()}
            )
    except OSError as error:
        raise SaveFailed(
            f"The untrained encoders could not be written to {place}: {error}.",
            "Without them no gpt.pth can be exported from the run. Nothing was trained yet.",
            "Free space on the disk, or check its permissions, and start again.",
        ) from error


def require_writable(root: Path) -> None:
    """Check that the run's directory is writable, before anything is read or computed.

    Raises:
        SettingsInvalid: It isn't.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise SettingsInvalid(
            f"Can't write to {root}: {error}.",
            "A run that can't save checkpoints would be lost.",
            "Name a writable directory, on a disk with free space, with --output-dir.",
        ) from error
