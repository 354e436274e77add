"""Plots the loss curves of A, B and C, and the difference of A and B."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unbroken import RunDirectory
from unbroken_tts.demo.runs import Runs

_A, _B, _C, _KILL = "#1b6ca8", "#f2a33a", "#b3321e", "#444444"
_SMOOTHED = 9


def draw(runs: Runs) -> bytes:
    """Return the picture as PNG."""
    a, b, c = (RunDirectory(path).steps() for path in (runs.undisturbed, runs.killed, runs.naive))
    figure = Figure(figsize=(10.5, 8.6), layout="constrained")
    FigureCanvasAgg(figure)
    whole, near, difference = figure.subplots(3, 1, height_ratios=[3, 3, 1.2])
    steps = sorted(a)
    _curves(whole, a, b, c, runs.naive_from)
    whole.set_title("Mel loss of every step")
    whole.set_xlim(1, max(steps))
    _curves(near, a, b, c, runs.naive_from, smoothed=_SMOOTHED)
    low = max(1, runs.naive_from - 20)
    high = min(max(steps), runs.naive_from + max(c, default=20))
    near.set_xlim(low, high)
    near.set_ylim(*_range(a, c, runs.naive_from, low, high))
    near.set_title(f"From where C restarted from the weights alone (means of {_SMOOTHED} steps)")
    common = sorted(a.keys() & b.keys())
    gaps = [float(a[step]["mel_loss"]) - float(b[step]["mel_loss"]) for step in common]
    difference.plot(common, gaps, color=_A, linewidth=1.4)
    largest = max(map(abs, gaps), default=0.0)
    difference.set_title(f"A minus B; largest difference: {largest:g}")
    difference.set_xlim(1, max(steps))
    difference.set_ylim(-max(largest, 1e-6) * 1.2, max(largest, 1e-6) * 1.2)
    difference.set_xlabel("step")
    for axes in (whole, near, difference):
        for number, kill in enumerate(runs.kills):
            label = "B killed" if number == 0 else None
            axes.axvline(kill.step, color=_KILL, linestyle=":", linewidth=1.2, label=label)
        axes.grid(alpha=0.25)
    for axes in (whole, near):
        axes.legend(loc="upper right", framealpha=0.9)
        axes.set_ylabel("mel loss (nats per code)")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return image.getvalue()


def _curves(
    axes: Any,
    a: Mapping[int, Mapping[str, Any]],
    b: Mapping[int, Mapping[str, Any]],
    c: Mapping[int, Mapping[str, Any]],
    offset: int,
    smoothed: int = 1,
) -> None:
    styles = (
        (c, offset, "C: restarted from the weights alone", {"color": _C, "linewidth": 1.4}),
        (a, 0, "A: undisturbed", {"color": _A, "linewidth": 3.2}),
        (b, 0, "B: killed and resumed", {"color": _B, "linewidth": 1.3, "linestyle": "--"}),
    )
    for lines, shift, label, style in styles:
        steps = sorted(lines)
        losses = smooth([float(lines[step]["mel_loss"]) for step in steps], smoothed)
        axes.plot([step + shift for step in steps], losses, label=label, **style)


def smooth(values: Sequence[float], width: int) -> npt.NDArray[np.float64]:
    """Return the mean of each value and its neighbours; (N,) float64."""
    array = np.asarray(values, dtype=np.float64)
    reach = width // 2
    places = range(len(array))
    return np.array([array[max(0, n - reach) : n + reach + 1].mean() for n in places])


def _range(
    a: Mapping[int, Mapping[str, Any]],
    c: Mapping[int, Mapping[str, Any]],
    offset: int,
    low: int,
    high: int,
) -> tuple[float, float]:
    seen = [float(a[step]["mel_loss"]) for step in range(low, high + 1) if step in a]
    seen += [float(line["mel_loss"]) for step, line in c.items() if step + offset <= high]
    return min(seen) - 0.1, max(seen) + 0.1
