"""Prepares a data set in a process of its own, so that a test can kill it."""

from __future__ import annotations

import sys
from pathlib import Path

from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan


def main() -> None:
    """Prepare; print how much was prepared now."""
    source, output, base, config = map(Path, sys.argv[1:5])
    plan = PreparePlan(
        tokenizer=TokenizerPlan(kind="extend", path=base, size=600),
        config=GptConfig.from_yaml(config),
        val_ratio=0.2,
    )
    sys.stdout.write(f"{prepare(source, output, plan).prepared_now}\n")
