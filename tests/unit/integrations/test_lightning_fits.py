"""Fits of every kind, cut off and begun again in one process: the fit that was never cut off."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from support import lightning_fits as fits
from support import lightning_kinds as kinds
from support.sameness import same

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about small programs

_WHOLE: dict[str, Any] = {}


def whole(kind: str, tmp_path: Path) -> Any:
    """Return what the program comes to that nobody cuts off."""
    if kind not in _WHOLE:
        _WHOLE[kind] = fits.fit(kind, tmp_path / "whole")
    return _WHOLE[kind]


def cut_and_resumed(
    kind: str, directory: Path, cut: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> Any:
    """Return what it comes to where it is cut off once; the resume must be proved."""
    with pytest.raises(kinds.CutError):
        fits.fit(kind, directory, (*cut, kinds.CutError))
    caplog.clear()
    with caplog.at_level(logging.INFO, "unbroken"):
        return fits.fit(kind, directory)


def require_same(expected: Any, found: Any) -> None:
    """Compare everything, and name what differs."""
    different = [key for key in expected if not same(expected[key], found[key])]
    assert [] == different, {key: (expected[key], found[key]) for key in different}


QUICK = ("accumulating", "manual")
"""Kinds that are tried each time; the others in the soak."""


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(each, marks=[] if each in QUICK else [pytest.mark.slow])
        for each in sorted(kinds.KINDS)
    ],
)
def test_a_fit_that_was_cut_off_goes_on_exactly(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A program of each kind, cut off inside an epoch and started again, comes to the same bits."""
    expected = whole(kind, tmp_path)
    require_same(expected, cut_and_resumed(kind, tmp_path / "cut", ("training", 11), caplog))
    assert "EXACT" in caplog.text
