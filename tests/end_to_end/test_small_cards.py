"""What the docs say of small cards is what the command calculates."""

from __future__ import annotations

import pytest

from support.benchmark_run import ROOT, run_benchmark

PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_table_of_the_docs_is_the_commands() -> None:
    """Every line, each marked as calculated, and all that is listed fits."""
    table = run_benchmark("small_cards.py").splitlines()
    assert "\n".join(table) in PAGE
    rows = [[word.strip() for word in line.split("|")[1:-1]] for line in table[2:]]
    assert {"calculated"} == {row[-1] for row in rows}
    assert all(float(row[5]) < float(row[6]) for row in rows)


@pytest.mark.slow
def test_the_ways_of_training_are_measured_side_by_side() -> None:
    """Adapters train fewer numbers than all layers, and the checkpoint is smaller."""
    table = run_benchmark("trained_parts.py", "--quick").splitlines()[-2:]
    rows = [[word.strip() for word in line.split("|")[1:-1]] for line in table]
    assert ["all layers", "LoRA, rank 16"] == [row[0] for row in rows]
    numbers, saved = ([float(row[column].split()[0]) for row in rows] for column in (1, 6))
    assert numbers[1] < numbers[0]
    assert saved[1] < saved[0]
