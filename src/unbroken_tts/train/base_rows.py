"""Proves which rows of the text tables are the base's, before any of them is frozen.

A row belongs to a piece, not to an id. With the tokenizer of the base at hand, the pieces of both are
compared: an extension keeps all rows, a tokenizer of its own takes rows by spelling and freezes none.
Without it nothing can be proved, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken import DataInvalid, SettingsInvalid, counted
from unbroken_tts.data.open_tokenizer import open_tokenizer, places_by
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.tokenizer_kinship import Kinship
from unbroken_tts.model.base import BaseWeights, frozen_rows_of
from unbroken_tts.model.new_rows import RowPlan, RowSource
from unbroken_tts.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRows:
    """What was proved of a base's rows."""

    plan: RowPlan | None
    """Where the rows come from; None loads them by id, because nothing could be proved."""
    frozen: int
    """Number of first rows to freeze."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the run records of it."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    @property
    def are_all_the_bases(self) -> bool:
        """Whether it is proved that every row stands for the piece it stands for in the base."""
        is_same = self.facts.get("is_extension", False) and not self.facts["new"]
        return is_same and not self.frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The tokenizer of a base, or why there is none."""

    tokenizer: Tokenizer | None = None
    why: str = ""
    """Why there is none."""


def prove_rows(
    settings: TrainSettings, weights: BaseWeights, pieces: int, found: Found, tokenizer: Tokenizer
) -> BaseRows:
    """Compare a run's tokenizer with that of its base.

    Args:
        settings: Say whether base rows are trained, and what new rows start as.
        weights: The base.
        pieces: Number of its first rows to freeze if they are proved; fewer than it has where it
            was itself extended.
        found: The tokenizer of the base, if there is one.
        tokenizer: The run's.
    """
    opens = settings.train_base_rows
    if found.tokenizer is None:
        _require_same_ids(weights, found, tokenizer)
        frozen = frozen_rows_of(pieces, tokenizer.vocabulary, train_base_rows=opens)
        what = f"the {frozen} rows to freeze" if frozen else "the rows of its text tables"
        note = (
            f"WARNING: {found.why}, so it could not be proved that {what} stand for the same pieces "
            f"in {tokenizer.path}. If they don't, every old word turns to noise. Name the tokenizer "
            "of the base with --base-tokenizer"
        )
        unproved = {"proved": False, "frozen": frozen}
        return BaseRows(plan=None, frozen=frozen, facts=unproved, notes=(note,))
    kin = Kinship(found.tokenizer, tokenizer)
    is_proved = kin.same >= pieces
    frozen = frozen_rows_of(pieces, tokenizer.vocabulary, train_base_rows=opens) if is_proved else 0
    known = sum(source is not None for source in kin.sources)
    facts: dict[str, Any] = {
        "proved": True,
        "tokenizer": found.tokenizer.digest,
        "is_extension": kin.is_extension,
        "same": kin.same,
        "by_spelling": known,
        "new": tokenizer.vocabulary - known,
        "new_rows": settings.new_rows,
        "frozen": frozen,
    }
    return BaseRows(
        plan=RowPlan(sources=row_sources(kin, settings.new_rows), frozen=frozen),
        frozen=frozen,
        facts=facts,
        notes=(_note(kin, known, weights, is_proved=is_proved),),
    )


def _require_same_ids(weights: BaseWeights, found: Found, tokenizer: Tokenizer) -> None:
    """Refuse a vocabulary of 2.5 of another size whose base is unknown: its special tokens have moved."""
    if tokenizer.languages and tokenizer.vocabulary != weights.vocabulary:
        raise SettingsInvalid(
            f"{tokenizer.path} has {tokenizer.vocabulary} pieces, the base {weights.origin} has rows for "
            f"{weights.vocabulary}, and {found.why}.",
            "Its special tokens stand at other ids than those of the base, the languages among them: they "
            "would get the rows of others.",
            "Name the vocabulary of the base, its .tiktoken file, with --base-tokenizer.",
        )


def row_sources(kin: Kinship, how: str) -> list[RowSource]:
    """Return where the row of each new piece comes from.

    Args:
        kin: The two tokenizers.
        how: `pieces` averages the pieces that spelt a new piece before; `mean` takes the mean of all.
    """
    return [
        source if source is not None else (tuple(kin.spelling(piece)) if how == "pieces" else ())
        for source, piece in zip(kin.sources, kin.new.pieces, strict=True)
    ]


def _note(kin: Kinship, known: int, weights: BaseWeights, *, is_proved: bool) -> str:
    new = kin.new.vocabulary - known
    if kin.is_extension and kin.new.vocabulary == kin.base.vocabulary:
        return f"NOTE: {kin.new.path} has the pieces of the base's tokenizer, {kin.base.path}"
    if kin.is_extension:
        return (
            f"NOTE: {kin.new.path} extends the tokenizer of the base, {kin.base.path}: all "
            f"{kin.base.vocabulary} rows stand for the same pieces, {new} pieces are new"
        )
    frozen = "" if is_proved else ", and nothing is frozen"
    return (
        f"NOTE: {kin.new.path} is no extension of {kin.base.path}, the tokenizer of {weights.origin}: "
        f"{kin.first_difference()}. {counted(known, 'piece')} that the base knows by spelling take "
        f"its rows, {new} start as new ones{frozen}"
    )


def find_base_tokenizer(
    settings: TrainSettings,
    base: Path,
    weights: BaseWeights,
    tokenizer: Tokenizer,
    run_facts: dict[str, Any] | None,
) -> Found:
    """Find the tokenizer of a base: named, or beside it, or beside --config, or of the run it is.

    Args:
        settings: May name it.
        base: A weights file, or a run or checkpoint.
        weights: What was read from it.
        tokenizer: That of the run that begins.
        run_facts: The facts of the run, if the base is one.

    Raises:
        DataInvalid: The named one can't be read.
        SettingsInvalid: It has another number of pieces than the base has rows.
    """
    named = settings.base_tokenizer
    if named is not None:
        found = open_tokenizer(named)
        if found.vocabulary != weights.vocabulary:
            raise SettingsInvalid(
                f"The tokenizer {named} of --base-tokenizer has {found.vocabulary} pieces, the base "
                f"{base} has rows for {weights.vocabulary}.",
                "It is not the tokenizer that the base was trained with.",
                "Name that of the base, or omit --base-tokenizer.",
            )
        return Found(tokenizer=found)
    if run_facts is not None:
        return _of_run(base, run_facts, tokenizer)
    reasons = []
    configs = (base.parent / "config.yaml", settings.config)
    for place in dict.fromkeys(place for config in configs for place in places_by(config)):
        try:
            found = open_tokenizer(place)
        except DataInvalid as error:
            reasons.append(error.what)
            continue
        if found.vocabulary == weights.vocabulary:
            return Found(tokenizer=found)
        reasons.append(f"{place} has {found.vocabulary} pieces.")
    seen = f" ({' '.join(reasons)})" if reasons else ""
    return Found(
        why=f"no tokenizer with the {weights.vocabulary} pieces of {base} lies beside it{seen}"
    )


def _of_run(run: Path, facts: dict[str, Any], tokenizer: Tokenizer) -> Found:
    """Find the tokenizer of a run: the same as now, or where it lay then."""
    digest = facts.get("tokenizer")
    if digest == tokenizer.digest:
        return Found(tokenizer=tokenizer)
    place = facts.get("sources", {}).get("tokenizer")
    try:
        found = open_tokenizer(Path(place)) if place else None
    except DataInvalid:
        found = None
    if found is None or found.digest != digest:
        return Found(why=f"the tokenizer of the run {run} is no longer at {place}")
    return Found(tokenizer=found)
