"""Checks that the trial training adds to the library's, as a program does."""

from __future__ import annotations

from typing import Final

from unbroken.checks.fact_check import FactCheck
from unbroken.checks.root_cause import Consequences

CHECKS: Final = (
    FactCheck(
        id="vocabulary-size-unchanged",
        title="The vocabulary has as many tokens as the run's",
        area="data",
        covers=("vocabulary",),
        example=(29, 33),
        cause="The vocabulary was extended after the run began.",
        explains=(
            "tokenizer-unchanged",
            "data-set-unchanged",
            *Consequences.STRUCTURE,
            *Consequences.LOADED,
        ),
    ),
    FactCheck(
        id="tokenizer-unchanged",
        title="The tokenizer is the run's",
        area="data",
        covers=("tokenizer",),
        example=("6f1a", "90cc"),
        cause="Pieces of text have other ids than at the save.",
        explains=("data-set-unchanged", "next-samples-identical"),
    ),
    FactCheck(
        id="model-configuration-unchanged",
        title="The model's configuration is the run's",
        area="model",
        covers=("model",),
        example=({"width": 24}, {"width": 32}),
        cause="The model was asked for with other numbers.",
        explains=(*Consequences.STRUCTURE, "optimizer-options-unchanged", *Consequences.LOADED),
    ),
)
