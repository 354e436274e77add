"""What the docs say of cards that were not measured is what the command prints."""

from __future__ import annotations

from support.benchmark_run import ROOT, run_benchmark


def test_the_table_of_the_docs_is_the_commands() -> None:
    """Every line, and all but the measured card are marked as calculated."""
    table = [line for line in run_benchmark("expectations.py").splitlines() if line[:1] == "|"]
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "\n".join(table) in page
    assert ["measured", *["calculated"] * 5] == [line.split(" | ")[-1][:-2] for line in table[2:]]
