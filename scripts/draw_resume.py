"""Draw docs/images/resume.svg: a training that was stopped, gone on with by hand and by `unbroken`.

    python scripts/draw_resume.py            # half a minute, on a processor

A small model of letters learns the pages of `docs/`. By hand it goes on in two ways that happen: the weights
are loaded, and optimizer and schedule begin anew; or everything is loaded, but the letters are numbered
in another order, as `list(set(text))` does at each start. `unbroken` refuses the second one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from torch import nn
from torch.utils.data import DataLoader, Dataset

import unbroken

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "resume.svg"
LENGTH, SMOOTHED = 48, 12
SHOWN_FROM = 20
GREY, ORANGE, RED, BLUE = "#9aa0a6", "#e8710a", "#c5221f", "#1a73e8"


class Letters(Dataset[torch.Tensor]):
    """Pieces of a text, by the places of their letters in an alphabet.

    Args:
        in_order: Whether that is sorted; otherwise it is in some other order.
    """

    def __init__(self, *, in_order: bool = True) -> None:
        text = "".join(each.read_text("utf-8") for each in sorted((ROOT / "docs").glob("*.md")))
        letters = sorted(set(text), key=lambda each: ord(each) if in_order else ord(each) % 7)
        alphabet = {each: i for i, each in enumerate(letters)}
        self.size = len(alphabet)
        self.places = torch.tensor([alphabet[each] for each in text])

    def __len__(self) -> int:
        return len(self.places) // LENGTH - 1

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return one letter more than a piece, (LENGTH + 1,) int64."""
        return self.places[index * LENGTH : (index + 1) * LENGTH + 1]


class Model(nn.Module):
    """A GRU that foretells the next letter."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, 64)
        self.gru = nn.GRU(64, 160, batch_first=True)
        self.out = nn.Sequential(nn.Dropout(0.1), nn.Linear(160, letters))

    def forward(self, piece: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        seen, _ = self.gru(self.embed(piece[:, :-1]))
        return nn.functional.cross_entropy(self.out(seen).flatten(0, 1), piece[:, 1:].flatten())


def built(data: Letters, steps: int) -> tuple[Model, torch.optim.Optimizer, Any, DataLoader[Any]]:
    """Return model, optimizer, schedule and loader."""
    torch.manual_seed(0)
    model = Model(data.size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.2e-2, total_steps=steps + 1, pct_start=0.1
    )
    return model, optimizer, schedule, DataLoader(data, 32, shuffle=True)


def trained(
    batches: Iterator[torch.Tensor], model: Model, optimizer: Any, schedule: Any
) -> Iterator[float]:
    """Train on batches; yield the loss of each."""
    for batch in batches:
        loss = model(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield loss.item()


def unbroken_losses(
    data: Letters, steps: int, stops: tuple[int, ...], directory: Path
) -> list[float]:
    """Return the losses of a run that ends at some steps and is started again."""
    losses: list[float] = []
    for until in (*stops, steps):
        model, optimizer, schedule, loader = built(data, steps)
        run = unbroken.Run(
            directory, data=loader, model=model, optimizer=optimizer, scheduler=schedule
        )
        losses += trained(run.batches(until=until), model, optimizer, schedule)
        run.close()
    return losses


def by_hand(
    data: Letters, later: Letters, steps: int, stop: int, *, loads_all: bool
) -> list[float]:
    """Return the losses of a training that goes on by hand.

    Args:
        data: Before the stop.
        later: After it.
        steps: Of the whole training.
        stop: Those before the stop.
        loads_all: Whether optimizer and schedule are loaded beside the weights.
    """
    losses: list[float] = []
    saved: list[dict[str, Any]] = []
    for letters, count in ((data, stop), (later, steps - stop)):
        model, optimizer, schedule, loader = built(letters, steps)
        parts: list[Any] = [model, optimizer, schedule] if loads_all else [model]
        for part, state in zip(parts, saved, strict=False):
            part.load_state_dict(state)
        endless = (batch for _ in iter(int, 1) for batch in loader)
        losses += trained(islice(endless, count), model, optimizer, schedule)
        saved = [part.state_dict() for part in parts]
    return losses


def smooth(losses: list[float]) -> list[float]:
    """Return the mean of the last losses at each step."""
    cut = [losses[max(0, i - SMOOTHED + 1) : i + 1] for i in range(len(losses))]
    return [sum(each) / len(each) for each in cut]


def draw(curves: list[tuple[str, list[float], dict[str, Any]]], stop: int, picture: Path) -> None:
    """Draw the curves; the same numbers make the same file."""
    mpl.rcParams["svg.hashsalt"] = "resume"
    figure, axes = plt.subplots(figsize=(8, 3.2))
    for label, losses, style in curves:
        axes.plot(
            range(1, len(losses) + 1)[SHOWN_FROM:],
            smooth(losses)[SHOWN_FROM:],
            label=label,
            **style,
        )
    axes.axvline(stop, color="black", linewidth=0.8, linestyle=":")
    top = axes.get_ylim()[1]
    axes.annotate(
        "stopped, and started again", (stop, top), (24, -12), textcoords="offset points", fontsize=9
    )
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper right", bbox_to_anchor=(0.56, 1.0))
    figure.tight_layout()
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


def main() -> None:
    """Train three times, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    data, steps, stop = Letters(), given.steps, given.steps * 4 // 7
    with tempfile.TemporaryDirectory() as place:
        make: Callable[..., list[float]] = unbroken_losses
        whole = make(data, steps, (), Path(place) / "whole")
        resumed = make(data, steps, (stop,), Path(place) / "resumed")
    if whole != resumed:
        raise SystemExit("the resumed training is another one")
    curves = [
        ("never stopped", whole, {"color": GREY, "linewidth": 4}),
        ("by hand: letters numbered in another order",
         by_hand(data, Letters(in_order=False), steps, stop, loads_all=True),
         {"color": RED, "linewidth": 1.2}),
        ("by hand: the weights alone", by_hand(data, data, steps, stop, loads_all=False),
         {"color": ORANGE, "linewidth": 1.2}),
        ("unbroken: the same, bit for bit", resumed,
         {"color": BLUE, "linewidth": 1.2, "linestyle": "--"}),
    ]  # fmt: skip
    draw(curves, stop, given.picture)


if __name__ == "__main__":
    main()
