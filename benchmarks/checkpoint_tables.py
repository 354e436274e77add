"""The tables that `checkpoint.py` prints: medians, and ratios within the same round."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interference import Segment

middle = statistics.median


def limits_table(limits: dict[str, list[float]], size: int) -> str:
    """Return what the machine can do at best, for as many bytes as the state has."""
    names = {
        "copy": "memory copy, one thread",
        "write": "write past the cache + fsync",
        "read": "read past the cache",
    }
    rows = [f"\n{'physical limits':32}{'s':>8}{'GB/s':>8}   (range s)"]
    for name, text in names.items():
        seconds = limits[name]
        rows.append(
            f"{text:32}{middle(seconds):8.3f}{size / middle(seconds) / 1e9:8.2f}   {_range(seconds)}"
        )
    return "\n".join(rows)


def save_table(saves: dict[str, list[Any]], first: Any, size: int) -> str:
    """Return stall, time until durable, processor time and memory of each way of saving."""
    rows = [
        (
            f"\n{'saving':24}{'stall s':>9}{'total s':>9}{'CPU s':>8}{'memory':>8}"
            "   stall / ours (range)     total / ours (range)"
        )
    ]
    ours = saves["unbroken"]
    for name, all_ in saves.items():
        stalls, totals, cpus = (
            [getattr(each.times, key) for each in all_] for key in ("stall", "total", "cpu")
        )
        grown = middle([each.memory for each in all_]) / size
        rows.append(
            f"{name:24}{middle(stalls):9.3f}{middle(totals):9.3f}{middle(cpus):8.2f}{grown:7.2f}x"
            f"   {_ratios(stalls, [each.times.stall for each in ours]):24}"
            f" {_ratios(totals, [each.times.total for each in ours])}"
        )
    rows.append(
        f"{'unbroken, first save':24}{first.times.stall:9.3f}{first.times.total:9.3f}"
        f"{first.times.cpu:8.2f}{first.memory / size:7.2f}x   (allocates and proves the snapshot)"
    )
    return "\n".join(rows)


def restore_table(restores: dict[str, dict[str, list[tuple[float, float]]]], size: int) -> str:
    """Return seconds and memory of each way of restoring, warm and cold."""
    rows = []
    for temperature, ways in restores.items():
        rows.append(
            f"\n{f'restoring, {temperature}':24}{'s':>9}{'memory':>9}   time / ours (range)"
        )
        ours = [seconds for seconds, _ in ways["unbroken"]]
        for name, all_ in ways.items():
            seconds = [each for each, _ in all_]
            grown = middle([memory for _, memory in all_]) / size
            rows.append(f"{name:24}{middle(seconds):9.3f}{grown:8.2f}x   {_ratios(seconds, ours)}")
    return "\n".join(rows)


def interference_table(found: dict[int, dict[str, list[Segment]]]) -> str:
    """Return how steps are slowed down, and what a save costs the training."""
    rows = []
    for threads, ways in found.items():
        rows.append(
            f"\n{f'training, {threads} thread(s)':24}{'step s':>9}{'saves':>7}{'stall s':>9}"
            "   step / alone (range)     lost s / save (range)"
        )
        alone = [middle(each.steps) for each in ways["nothing"]]
        for name, segments in ways.items():
            steps = [middle(each.steps) for each in segments]
            saves = sum(each.saves for each in segments)
            held = middle([each.held / each.saves for each in segments])
            row = f"{name:24}{middle(steps):9.3f}{saves if name != 'nothing' else 0:7}{held:9.3f}"
            if name != "nothing":
                lost = [
                    (each.stalls + sum(each.steps) - len(each.steps) * base) / each.saves
                    for each, base in zip(segments, alone, strict=True)
                ]
                row += f"   {_ratios(steps, alone):24} {middle(lost):.3f} {_range(lost)}"
            rows.append(row)
    return "\n".join(rows)


def _ratios(these: list[float], those: list[float]) -> str:
    ratios = [a / b for a, b in zip(these, those, strict=True)]
    return f"{middle(ratios):.2f}x ({min(ratios):.2f} - {max(ratios):.2f})"


def _range(values: list[float]) -> str:
    return f"({min(values):.3f} - {max(values):.3f})"
