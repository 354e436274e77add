"""The trainer's checks on facts: vocabulary, tokenizer and configuration of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from unbroken.checks import Check, CheckResult, Consequences, FactCheck, StateSummary


def _in_pieces(result: CheckResult, saved: StateSummary, live: StateSummary) -> CheckResult:
    """Say it as its users know it."""
    before, now = saved.fact("vocabulary"), live.fact("vocabulary")
    return replace(
        result,
        numbers=f"{now} pieces, was {before}",
        headline=f"CRITICAL: Vocabulary size mismatch (checkpoint {before}, now {now})",
        alarm="CRITICAL: Vocabulary size mismatch detected!",
    )


# A table cut or grown to fit would put every later row under another piece.
VOCABULARY_SIZE_UNCHANGED: Final = FactCheck(
    id="vocabulary-size-unchanged",
    title="The vocabulary has as many pieces as the run's",
    area="data",
    covers=("vocabulary",),
    example=(12_000, 24_000),
    compares="the number of pieces of the tokenizer with the number the text tables were built for.",
    why="The text tables have one row a piece: the state fits only its vocabulary.",
    cause="A tokenizer that was extended after the run began.",
    remedy="Give the run's tokenizer, or begin a new run with --init-from.",
    does_not="compare the pieces themselves; `tokenizer_unchanged` does.",
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

# Ids that moved by one look like text and train like noise.
TOKENIZER_UNCHANGED: Final = FactCheck(
    id="tokenizer-unchanged",
    title="The tokenizer is the run's",
    area="data",
    covers=("tokenizer",),
    example=("6f1a", "90cc"),
    compares="the digest of the tokenizer's pieces, in order, with their scores; never its path.",
    why="Shifted token ids train as noise: the loss jumps and stays.",
    cause="Another tokenizer file lies at --tokenizer, or it was trained anew.",
    remedy="Give the tokenizer of the run, or begin a new run from its weights with --init-from.",
    does_not="look at text that was made into ids before; the data set's digest does.",
    explains=("data-set-unchanged", "next-samples-identical"),
)

# The same names and shapes can hide another model: another number of heads, another dropout.
MODEL_CONFIGURATION_UNCHANGED: Final = FactCheck(
    id="model-configuration-unchanged",
    title="The model's configuration is the run's",
    area="model",
    covers=("model", "frozen_rows"),
    example=({"heads": 8}, {"heads": 4}),
    compares="every number of the model's configuration, and how many base rows are frozen.",
    why="Weights trained under one configuration compute something else under another.",
    cause="--config or --base-checkpoint names another file, or the file was edited.",
    remedy="Give the run's config.yaml.",
    does_not="compare tensors; the structure and the digests do.",
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
