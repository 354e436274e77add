"""Finds what an exported folder needs beside the weights: configuration and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.open_tokenizer import open_tokenizer, places_by
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.whisper_tokens import VOCABULARY_FILE
from unbroken_tts.export.config_file import exported_config
from unbroken_tts.export.folder import FolderContent
from unbroken_tts.export.front_file import NAME, front_file
from unbroken_tts.prepare.fronts import DEFAULT, TextRules, rules_of_data
from unbroken_tts.train.kept_files import kept_config, kept_tokenizer

if TYPE_CHECKING:
    import torch

    from unbroken_tts.model.gpt import VoiceGpt

DEFAULT_CONFIG = Path("checkpoints/config.yaml")
"""Where the configuration is looked for last."""


def config_of(
    facts: Mapping[str, Any] | None, root: Path | None, given: Path | None, into: Path | None
) -> Path:
    """Return the place of the user's `config.yaml`.

    The one named, that of the folder of IndexTTS2 (training doesn't read its other sections, so that
    folder knows them best), the one kept in the run, or where the run read it.

    Args:
        facts: The facts of the run; None for a file of weights.
        root: The run's directory; None for a file of weights.
        given: Named by the user.
        into: The folder of IndexTTS2 named by the user.

    Raises:
        SettingsInvalid: It is in none of these places.
    """
    if given is not None:
        return given
    places = [into / "config.yaml"] if into else []
    places += [kept_config(root)] if root else []
    remembered = (facts or {}).get("sources", {}).get("config")
    places += [Path(remembered)] if remembered else []
    places.append(DEFAULT_CONFIG)
    for place in places:
        if place.is_file():
            return place
    raise SettingsInvalid(
        f"The config.yaml of these weights is gone: {', '.join(map(str, places))} "
        f"{'do' if len(places) > 1 else 'does'} not exist.",
        "The run itself knows only the `gpt` section; the inference program needs the others too.",
        "Name the config.yaml of your IndexTTS2 folder with --config, or that folder with --into.",
    )


def read_config(path: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        SettingsInvalid: It can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(
            f"The model configuration {path} can't be read: {error}.",
            "The exported folder gets this file, with the numbers of the weights.",
            "Name the config.yaml of your IndexTTS2 folder with --config.",
        ) from error


def tokenizer_of(
    facts: Mapping[str, Any] | None,
    root: Path | None,
    given: Path | None,
    config: Path,
    vocabulary: int,
) -> Tokenizer:
    """Return the tokenizer of the weights: named, kept in the run, or where it was read.

    Args:
        facts: The facts of the run; None for a file of weights.
        root: The run's directory; None for a file of weights.
        given: Named by the user.
        config: The configuration; the tokenizer that it names lies beside it.
        vocabulary: Pieces that the weights have rows for.

    Raises:
        DataInvalid: The named one is no tokenizer.
        SettingsInvalid: The named one, or all that were found, are not that of the weights.
    """
    if given is not None:
        return _matching(open_tokenizer(given), facts, vocabulary)
    places = [kept_tokenizer(root)] if root else []
    remembered = (facts or {}).get("sources", {}).get("tokenizer")
    places += [Path(remembered)] if remembered else []
    places += places_by(config)
    for place in places:
        if not place.is_file():
            continue
        try:
            return _matching(open_tokenizer(place), facts, vocabulary)
        except (DataInvalid, SettingsInvalid):
            continue
    raise SettingsInvalid(
        f"The tokenizer of these weights is gone; looked at: {', '.join(map(str, places))}.",
        f"The folder needs the one with the {vocabulary} pieces of the training; with another, every "
        "text id would stand for another piece.",
        "Name it with --tokenizer.",
    )


def _matching(found: Tokenizer, facts: Mapping[str, Any] | None, vocabulary: int) -> Tokenizer:
    is_another = facts is not None and facts["tokenizer"] != found.digest
    if is_another or found.vocabulary != vocabulary:
        raise SettingsInvalid(
            f"The tokenizer {found.path} is not that of the weights: it has {found.vocabulary} "
            f"pieces and the digest {found.digest[:12]}; the weights have rows for {vocabulary}.",
            "Every text id would stand for another piece: the voice would say something else.",
            "Name the tokenizer of the training with --tokenizer.",
        )
    return found


def folder_content(
    tensors: Mapping[str, torch.Tensor],
    model: VoiceGpt,
    *,
    facts: Mapping[str, Any] | None,
    root: Path | None,
    origin: Mapping[str, Any],
    config: Path | None,
    tokenizer: Path | None,
    into: Path | None,
) -> FolderContent:
    """Collect what an exported folder is made of.

    Args:
        tensors: The weights, in the precision to write.
        model: The trained model, for its configuration and vocabulary.
        facts: The facts of the run; None for a file of weights.
        root: The run's directory; None for a file of weights.
        origin: Where the weights came from, for the record.
        config: Configuration named by the user.
        tokenizer: Tokenizer named by the user.
        into: Folder of IndexTTS2 named by the user.

    Raises:
        DataInvalid: A file is missing or damaged.
        SettingsInvalid: A file is not that of the weights, or the inference program can't use them.
    """
    _require_speed_rows(model)
    place = config_of(facts, root, config, into)
    encoder = tokenizer_of(facts, root, tokenizer, place, model.vocabulary)
    known = facts or {}
    rules = text_rules_of(known)
    name = VOCABULARY_FILE if encoder.languages else None
    return FolderContent(
        tensors=tensors,
        model=model.config,
        vocabulary=model.vocabulary,
        config=exported_config(read_config(place), place, model.config, model.vocabulary, name),
        tokenizer=encoder.path.read_bytes(),
        provenance={
            "weights": dict(origin),
            "base": known.get("base"),
            "data": known.get("data"),
            "features": known.get("features"),
            "frozen_rows": known.get("frozen_rows"),
            "tokenizer": {"digest": encoder.digest, "pieces": encoder.vocabulary},
            "text_rules": rules.recorded() if rules else None,
        },
        more={NAME: front_file(rules).encode()} if rules and rules.front == DEFAULT else {},
    )


def text_rules_of(facts: Mapping[str, Any]) -> TextRules | None:
    """Return the rules that made a run's text ids, by its facts or beside its data.

    None where nothing tells. Runs that began before facts had them are asked by their data.

    Raises:
        SettingsInvalid: This version has other rules of the name.
    """
    rules = TextRules.of_record(facts.get("text_rules"))
    manifests = facts.get("sources", {}).get("train_manifest") or []
    if rules is None and "text_rules" not in facts and manifests:
        rules = rules_of_data(Path(manifests[0]).parent, languages_in(Path(manifests[0])))
    if rules is not None:
        rules.require_of_today()
    return rules


def languages_in(manifest: Path) -> set[str]:
    """Return the languages that a manifest names; none if it can't be read."""
    try:
        return set(load_pairs((str(manifest),)).languages)
    except DataInvalid:
        return set()


def _require_speed_rows(model: VoiceGpt) -> None:
    if not (model.config.speed_rows or model.config.takes_speaker_vectors):
        raise SettingsInvalid(
            "These weights have no speed_emb.weight.",
            "The inference program always puts two speed rows before the text; the weights were "
            "trained without them.",
            "Write the weights alone (a target that ends in .pth), or begin a run from a base that "
            "has them.",
        )
