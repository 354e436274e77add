"""Compares saving and restoring with other ways, interleaved in one run on one machine.

Every round measures each way once, in another order. Shown are medians, and the median, smallest and
largest ratio to the way that is compared with, of the same round. docs/benchmarks.md says what each
figure means.

    python benchmarks/checkpoint.py                   # some minutes, 8 GB of disk, 8 GB of memory
    python benchmarks/checkpoint.py --gigabytes 0.02  # seconds; only shows that it runs
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from checkpoint_state import BenchmarkState
from checkpoint_tables import interference_table, limits_table, restore_table, save_table
from interference import BACKGROUNDS, Nothing, Segment, SmallTraining
from physical_limits import PhysicalLimits
from resident_memory import Growth
from restore_ways import RESTORES, forget, warm_up
from save_ways import OTHERS, InPlace, Ours, Overlapped, SaveTimes, clear, measured, settle

from unbroken.state.digest import combined_digest

PARTS = ("save", "restore", "interference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A save and its memory."""

    times: SaveTimes
    memory: float
    """Bytes by which the process grew at its peak."""


def turned(names: list[Any], number: int) -> list[Any]:
    """Return the names in another order for each round: rotated, every second time backwards."""
    shift = number // 2 % len(names)
    order = names[shift:] + names[:shift]
    return order[::-1] if number % 2 else order


def measure_limits(state: BenchmarkState, rounds: int, directory: Path) -> dict[str, list[float]]:
    """Return seconds of copying, writing and reading as many bytes as the state has."""
    limits = PhysicalLimits(state.size, directory)
    limits.write()
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name in ("copy", "write", "read"):
            settle()
            found[name].append(getattr(limits, name)())
    return dict(found)


def measure_saves(
    state: BenchmarkState, rounds: int, directory: Path
) -> tuple[dict[str, list[Sized]], Sized]:
    """Return all saves by way, and our first one, which allocates and proves the snapshot."""
    ways: dict[str, InPlace | Ours] = {}
    kinds: tuple[type[InPlace | Ours], ...] = (Ours, *OTHERS)
    places = {each.name: _made(directory / each.__name__) for each in kinds}
    settle()
    with Growth() as growth:
        ways[Ours.name] = Ours(state, places[Ours.name])
        first = measured(ways[Ours.name])
    once = Sized(times=first, memory=growth.bytes)
    ways |= {each.name: each(state, places[each.name]) for each in OTHERS}
    found: dict[str, list[Sized]] = defaultdict(list)
    for number in range(rounds):
        for name in turned(list(ways), number):
            settle()
            with Growth() as growth:
                times = measured(ways[name])
            found[name].append(Sized(times=times, memory=growth.bytes))
            if name != Ours.name:
                clear(places[name])
    for way in ways.values():
        way.close()
    return dict(found), once


def measure_restores(
    state: BenchmarkState, rounds: int, directory: Path
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return (seconds, bytes of growth) of each restore by way, warm and cold."""
    places: dict[str, Path] = {}
    for kind in {kind for kind, _ in RESTORES.values()}:
        places[kind.name] = _made(directory / f"Restore{kind.__name__}")
        way = kind(state, places[kind.name])
        measured(way)
        way.close()
    saved = combined_digest(sorted(state.tensors.items()))
    found: dict[str, dict[str, list[tuple[float, float]]]] = {"warm": {}, "cold": {}}
    for number in range(rounds):
        for temperature, prepare in (("warm", warm_up), ("cold", forget)):
            for name in turned(list(RESTORES), number):
                kind, restore = RESTORES[name]
                state.spoil()
                settle()
                prepare(places[kind.name])
                with Growth() as growth:
                    began = time.perf_counter()
                    restore(state, places[kind.name])
                    seconds = time.perf_counter() - began
                found[temperature].setdefault(name, []).append((seconds, growth.bytes))
                if combined_digest(sorted(state.tensors.items())) != saved:
                    raise RuntimeError(f"{name} restored another state than was saved")
    return found


def measure_interference(
    state: BenchmarkState, rounds: int, steps: int, directory: Path
) -> dict[int, dict[str, list[Segment]]]:
    """Return segments of training by number of training threads and by what was written."""
    training = SmallTraining()
    backgrounds: dict[str, Any] = {"nothing": Nothing()}
    for name, kind in BACKGROUNDS.items():
        backgrounds[name] = kind(state, _made(directory / f"Behind{kind.__name__}"))
        if isinstance(backgrounds[name], Overlapped):
            backgrounds[name].beside(training.optimizer)
        backgrounds[name].save()  # memory is touched, the files of the next are replacements
        while not backgrounds[name].is_done():
            training.step()
    found: dict[int, dict[str, list[Segment]]] = {}
    cores = os.cpu_count() or 1
    before = torch.get_num_threads()
    for threads in sorted({cores, max(1, cores - 1)}):
        torch.set_num_threads(threads)
        found[threads] = defaultdict(list)
        for number in range(rounds):
            for name in turned(list(backgrounds), number):
                settle()
                found[threads][name].append(training.segment(backgrounds[name], steps))
    torch.set_num_threads(before)
    for name in (Ours.name, Overlapped.name):
        backgrounds[name].close()
    return found


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gigabytes", type=float, default=1.493, help="of the state [1.493]")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    parser.add_argument("--steps", type=int, default=12, help="of a segment of training [12]")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--directory", type=Path, help="where to save; default: a temporary one")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print, part by part."""
    asked = parse()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text file here
    warnings.filterwarnings("ignore", module="torch.distributed")
    logging.getLogger("unbroken").setLevel(
        logging.ERROR
    )  # these starts never train, and it says so
    state = BenchmarkState(asked.gigabytes)
    print(
        f"{len(state.tensors)} tensors, {state.size / 1e9:.3f} GB, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, {asked.rounds} rounds"
    )
    report: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count()}
    report |= {"bytes": state.size, "tensors": len(state.tensors)}
    with tempfile.TemporaryDirectory(dir=asked.directory) as temporary:
        directory = Path(temporary)
        limits = measure_limits(state, asked.rounds, directory)
        report["limits"] = limits
        print(limits_table(limits, state.size))
        if "save" in asked.only:
            saves, first = measure_saves(state, asked.rounds, directory)
            report["save"] = {name: [asdict(each) for each in all_] for name, all_ in saves.items()}
            report["first save"] = asdict(first)
            print(save_table(saves, first, state.size))
        if "restore" in asked.only:
            report["restore"] = measure_restores(state, asked.rounds, directory)
            report["restored bit for bit"] = True  # an error otherwise
            print(restore_table(report["restore"], state.size))
        if "interference" in asked.only:
            found = measure_interference(state, asked.rounds, asked.steps, directory)
            report["interference"] = {
                threads: {name: [asdict(each) for each in all_] for name, all_ in by.items()}
                for threads, by in found.items()
            }
            print(interference_table(found))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
