"""The trainer's checks on facts: vocabulary, tokenizer and configuration of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from unbroken.checks import Check, CheckResult, Consequences, FactCheck, StateSummary


def _in_pieces(result: CheckResult, saved: StateSummary, live: StateSummary) -> CheckResult:
    """Return the result with the message that users of the earlier trainer know."""
    before, now = saved.fact("vocabulary"), live.fact("vocabulary")
    return replace(
        result,
        numbers=f"{now} pieces, was {before}",
        headline=f"CRITICAL: Vocabulary size mismatch (checkpoint {before}, now {now})",
        alarm="CRITICAL: Vocabulary size mismatch detected!",
    )


# Cutting or extending a table to make it fit would assign its rows to other pieces.
VOCABULARY_SIZE_UNCHANGED: Final = FactCheck(
    id="vocabulary-size-unchanged",
    title="The vocabulary has as many pieces as the run's",
    area="data",
    covers=("vocabulary",),
    example=(12_000, 24_000),
    compares="the number of pieces of the tokenizer with that of the tokenizer the run began with.",
    why="The text tables have one row per piece, so the saved state fits only its own vocabulary.",
    cause="The tokenizer was extended after the run began.",
    remedy="Use the run's tokenizer, or begin a new run with --init-from.",
    does_not="compare the pieces themselves; `tokenizer-unchanged` does.",
    explains=(
        "tokenizer-unchanged",
        "model-configuration-unchanged",
        "data-set-unchanged",
        "settings-unchanged",
        *Consequences.STRUCTURE,
        *Consequences.LOADED,
        "next-samples-identical",
    ),
    refine=_in_pieces,
)

# Ids that are shifted by one still look like text, but the model trains on noise.
TOKENIZER_UNCHANGED: Final = FactCheck(
    id="tokenizer-unchanged",
    title="The tokenizer is the run's",
    area="data",
    covers=("tokenizer",),
    example=("6f1a", "90cc"),
    compares="the digest of the tokenizer's pieces, in order, with their scores; never its path.",
    why="With other token ids the model trains on noise: the loss jumps and stays high.",
    cause="--tokenizer names another file, or the tokenizer was trained again.",
    remedy="Use the run's tokenizer, or begin a new run from its weights with --init-from.",
    does_not="check text that is already encoded; the data set's digest does.",
    explains=("data-set-unchanged", "next-samples-identical"),
)

# Equal names and shapes can hide another model: another number of heads, another dropout.
MODEL_CONFIGURATION_UNCHANGED: Final = FactCheck(
    id="model-configuration-unchanged",
    title="The model's configuration is the run's",
    area="model",
    covers=("model", "frozen_rows", "trained_part", "language_row"),
    example=({"heads": 8}, {"heads": 4}),
    compares="every value of the model's configuration, how many base rows are frozen, and which "
    "layers are trained or have adapters.",
    why="The same weights compute something else under another configuration.",
    cause="--config or --base-checkpoint names another file, or the file was edited.",
    remedy="Use the run's config.yaml.",
    does_not="compare tensors; the checks on structure and weights do.",
    explains=(
        *Consequences.STRUCTURE,
        "parts-complete",
        "optimizer-options-unchanged",
        "training-mode-unchanged",
        *Consequences.LOADED,
    ),
)

TRAINER_CHECKS: Final[tuple[Check, ...]] = (
    VOCABULARY_SIZE_UNCHANGED,
    TOKENIZER_UNCHANGED,
    MODEL_CONFIGURATION_UNCHANGED,
)
"""In the order of the report."""
