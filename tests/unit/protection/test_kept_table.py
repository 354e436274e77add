"""The table of a protected function: whole where it is news, one line where the last start had it too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unbroken


def trained() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.randn(24, 4)), 4)
    best = 9.0
    for _ in range(2):
        for (batch,) in loader:
            loss = model(batch).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            best = min(best, loss.item())


def trained_with_another_name() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.randn(24, 4)), 4)
    best, least = 9.0, 9.0
    for _ in range(2):
        for (batch,) in loader:
            loss = model(batch).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            best = least = min(best, least, loss.item())


def said_by(
    function: Callable[[], None], directory: Path, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """Start a program; return what it says of what it found."""
    caplog.clear()
    caplog.set_level("INFO", "unbroken")
    unbroken.protect(directory)(function)()
    return [each for each in caplog.messages if each.startswith("[Protect]")]


def test_a_table_that_is_known_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The line counts, and names the file that has the table of the start before."""
    (whole,) = said_by(trained, tmp_path, caplog)
    (short,) = said_by(trained, tmp_path, caplog)
    kept = tmp_path / "logs" / "protected.txt"
    assert f"{whole}\n" == kept.read_text("utf-8")
    assert (
        "[Protect] saved and not saved as at the start before: 3 parts, 1 name begins anew; "
        f"{kept} lists them."
    ) == short


def test_a_table_that_changed_is_shown_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is what the next start is compared with."""
    said_by(trained, tmp_path, caplog)
    (changed,) = said_by(trained_with_another_name, tmp_path, caplog)
    assert "    least  float" in changed
    (short,) = said_by(trained_with_another_name, tmp_path, caplog)
    assert "3 parts, 2 names begin anew" in short


def test_a_table_that_cannot_be_kept_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is shown again at the next start."""
    (tmp_path / "logs" / "protected.txt").mkdir(parents=True)
    whole, failed = said_by(trained, tmp_path, caplog)
    assert "protected.txt can't be written: " in failed
    assert whole == said_by(trained, tmp_path, caplog)[0]
