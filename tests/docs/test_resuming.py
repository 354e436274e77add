"""The table of bounds in docs/resuming.md is the one that decides."""

from __future__ import annotations

from pathlib import Path

from unbroken.journal.change import Kind
from unbroken.replay.bounds import BOUNDS, Bound

PAGE = (Path(__file__).parents[2] / "docs" / "resuming.md").read_text(encoding="utf-8")
COLUMNS = (Kind.THREADS, Kind.KERNELS, Kind.CUT, Kind.DEVICE, Kind.CARD)


def figure(value: float) -> str:
    """Return 0.00015 as `1.5e-4`."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def cell(bounds: dict[Kind, Bound], kind: Kind) -> str:
    """Return what the table says of a kind of change."""
    if kind in bounds:
        return f"{figure(bounds[kind].loss)}, {figure(bounds[kind].gradient)}"
    return "as kernels" if kind is Kind.THREADS else "-"


def test_every_bound_is_in_the_table() -> None:
    """A row for each of what is computed in, and no other row."""
    rows = [
        f"| {arithmetic} | {' | '.join(cell(bounds, kind) for kind in COLUMNS)} |"
        for arithmetic, bounds in BOUNDS.items()
    ]
    found = [each for each in PAGE.splitlines() if each.startswith(("| fp", "| bf", "| tf"))]
    assert rows == found
