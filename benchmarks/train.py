"""Compares our training with the earlier trainer's way, interleaved in one run on one machine.

Each way trains the same samples in a process of its own, a round at a time: earlier, present; present,
earlier; and so on. Shown are medians, and the ratios of neighbouring rounds (smallest - largest).
docs/benchmarks.md says what each figure means.

    python benchmarks/train.py            # some minutes
    python benchmarks/train.py --quick    # under a minute; only shows that it runs
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from child import Child, Round, WayName
from length_mix import bucketed, padded_share, shuffled
from workload import SaveTimes, Workload

WAYS: tuple[WayName, WayName] = ("earlier", "present")
QUICK = {
    "layers": 2,
    "width": 64,
    "heads": 2,
    "vocabulary": 300,
    "codes": 300,
    "batch": 4,
    "steps": 2,
    "shrink": 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one way came to, round by round."""

    rounds: list[Round] = field(default_factory=list)
    saves: list[SaveTimes] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """MiB by which the process grew at its peak: before the first save, and after the last."""


def measure(work: Workload, rounds: int, directory: Path) -> dict[WayName, Measured]:
    """Let both ways train and save in turns."""
    found: dict[WayName, Measured] = {name: Measured() for name in WAYS}
    with (
        Child("earlier", work, directory) as earlier,
        Child("present", work, directory) as present,
    ):
        children: dict[WayName, Child] = {"earlier": earlier, "present": present}
        for child in children.values():
            child.ask("train", work.steps)  # memory is touched, caches are warm, Adam has its state
        for number in range(rounds):
            for name in _turn(number):
                found[name].rounds.append(children[name].ask("train", work.steps))
            if not number:
                _note_memory(found, children)
            for name in _turn(number):
                found[name].saves.append(children[name].ask("save"))
        _note_memory(found, children)
    return found


def _note_memory(found: dict[WayName, Measured], children: dict[WayName, Child]) -> None:
    for name in WAYS:
        found[name].memory.append(children[name].ask("memory"))


def _turn(number: int) -> tuple[WayName, ...]:
    return WAYS[:: -1 if number % 2 else 1]


def print_table(work: Workload, found: dict[WayName, Measured]) -> None:
    """Print medians and the ratios of the pairs; above 1.00x the present way is better."""
    earlier, present = (found[name] for name in WAYS)
    print(f"\n{work.precision:26}{'earlier':>12}{'present':>12}   ratio of pairs (range)")
    for label, attribute in (("tokens / second", "wall"), ("tokens / CPU second", "cpu")):
        speeds = [
            [each.tokens / getattr(each, attribute) for each in way.rounds]
            for way in (earlier, present)
        ]
        _row(label, *speeds, places=0)
    for label, attribute, unit in (
        ("checkpoint, stall s", "stall", 1.0),
        ("checkpoint, complete s", "total", 1.0),
        ("checkpoint, MB written", "size", 1e6),
    ):
        costs = [
            [getattr(each, attribute) / unit for each in way.saves] for way in (earlier, present)
        ]
        _row(label, *costs, places=3 if unit == 1.0 else 0, smaller_is_better=True)
    for label, index in (("peak memory, training MiB", 0), ("peak memory, saving MiB", 1)):
        _row(
            label,
            [earlier.memory[index]],
            [present.memory[index]],
            places=0,
            smaller_is_better=True,
        )


def _row(
    label: str,
    earlier: list[float],
    present: list[float],
    *,
    places: int,
    smaller_is_better: bool = False,
) -> None:
    ratios = [a / b if smaller_is_better else b / a for a, b in zip(earlier, present, strict=True)]
    middle = statistics.median
    spread = f" ({min(ratios):.2f} - {max(ratios):.2f})" if len(ratios) > 1 else ""
    print(
        f"{label:26}{middle(earlier):12.{places}f}{middle(present):12.{places}f}"
        f"   {middle(ratios):.2f}x{spread}"
    )


def padding(work: Workload) -> dict[str, float]:
    """Return the padded shares of the text and mel positions, by order, layout and batch."""
    mix, chosen = work.population(), work.lengths()
    shares = {}
    for batch in (work.batch, 64):
        random_order = shuffled(len(mix.text), batch, seed=1)
        for layout in ("tight", "legacy"):
            ours = bucketed(mix, batch, layout)
            shares[f"bucketed, {layout} layout, batch {batch}"] = padded_share(mix, ours, layout)
            shares[f"random, {layout} layout, batch {batch}"] = padded_share(
                mix, random_order, layout
            )
    count = len(chosen.text)
    orders = [shuffled(count, work.batch, seed=seed) for seed in range(20)]
    shares["as measured, present"] = padded_share(
        chosen, bucketed(chosen, work.batch, "tight"), "tight"
    )
    shares["as measured, earlier (mean of 20 orders)"] = statistics.mean(
        padded_share(chosen, order, "legacy") for order in orders
    )
    return shares


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    numbers = {
        "layers": 6,
        "width": 384,
        "heads": 6,
        "vocabulary": 12_000,
        "codes": 8_192,
        "batch": 8,
        "steps": 3,
        "shrink": 1,
        "threads": 1,
        "rounds": 3,
    }
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"[{default}]")
    parser.add_argument("--dropout", type=float, default=0.1, help="of both ways [0.1]")
    parser.add_argument(
        "--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"]
    )
    parser.add_argument("--quick", action="store_true", help="a tiny model, one round")
    parser.add_argument("--directory", type=Path, help="where to save; default: a temporary one")
    parser.add_argument("--json", type=Path, help="also write every round here")
    found = parser.parse_args(arguments)
    if found.quick:
        vars(found).update(QUICK, rounds=1)
    return found


def main() -> None:
    """Measure and print, precision by precision."""
    asked = parse()
    # Whatever reads it later, in this process or a child, agrees with torch about the threads.
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text file here
    names = Workload.__dataclass_fields__.keys() - {"precision"}
    report: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count()}
    for precision in asked.precision:
        work = Workload(precision=precision, **{name: getattr(asked, name) for name in names})
        if "padded shares" not in report:
            report |= {"workload": asdict(work), "padded shares": padding(work)}
            print_workload(work, asked.rounds, report["padded shares"])
        with tempfile.TemporaryDirectory(dir=asked.directory) as temporary:
            found = measure(work, asked.rounds, Path(temporary))
        print_table(work, found)
        report[precision] = {name: asdict(each) for name, each in found.items()}
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8", newline="\n")


def print_workload(work: Workload, rounds: int, shares: dict[str, float]) -> None:
    """Print what is trained and how much of it is padding."""
    chosen = work.lengths()
    print(
        f"{work.layers} layers, {work.width} wide, {work.heads} heads, {work.vocabulary} text pieces,"
        f" {work.codes} codes, dropout {work.dropout}, {work.threads} thread(s) of"
        f" {os.cpu_count()} cores\n"
        f"a round: {work.steps} steps of {work.batch} samples, {chosen.tokens} tokens; "
        f"{rounds} rounds of each way\n\npadded share of text and mel positions"
    )
    for name, share in shares.items():
        print(f"  {name:42}{share:7.1%}")


if __name__ == "__main__":
    main()
