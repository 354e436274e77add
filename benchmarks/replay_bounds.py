"""Measure how far a repeated step may lie from the first time when only the environment changes.

Usage: python benchmarks/replay_bounds.py [--device cpu|cuda] [--seeds N] [--seconds S] [--json FILE]

A small transformer is trained to a checkpoint, and some steps on; the same steps are then repeated
from the checkpoint, each time with one change: other threads, other instructions or kernels, another
cut of the step batch, another device. Printed are the largest relative differences of loss and
gradient norm over the first five steps, per precision, and the bound that
src/unbroken/replay/bounds.py should hold: ten times that in fp32 and three times otherwise, rounded up
to one digit; and what a planted fault of 1 % makes, which must lie above. Before it stands what
replay and watch add to a step, in processor time.

On a processor each seed and precision has a process of its own, and so has each change that a
process must be started with. On a card nothing needs that: all is repeated in one process, which
spares the start of the device, and each row is printed as soon as it is there, those of the first
seed before those of the next. A second model, eight times as wide, shows how the figures grow.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from replay_steps import BATCH, WIDTH, Lines, train

from unbroken.journal.past import Past, Reference
from unbroken.replay.replay import Replay
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.resume_log import ResumeLog
from unbroken.watch.watch import Watch

SAFETY = {"fp32": 10, "tf32": 3, "bf16": 3, "fp16": 3}
DECIDING, LATER = 5, 20
DRY = "cpu:0"
"""The device of a dry run: a card's rows, after a few steps."""
WIDE = 8 * WIDTH
PRECISIONS = {"cpu": ["fp32", "bf16"], "cuda": ["bf16", "fp16", "tf32", "fp32"]}
"""Those measured, in this order; tf32 is fp32 as a card computes it that has such units."""
CHANGES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "1 thread, was 2": ("threads", {"threads": 1}, {}),
    "3 threads, was 2": ("threads", {"threads": 3}, {}),
    "4 threads, was 2": ("threads", {"threads": 4}, {}),
    "AVX2 instructions": (
        "kernels",
        {},
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
    ),
    "oldest instructions": (
        "kernels",
        {},
        {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        },
    ),
    "micro-batches of 4, were 8": ("cut", {"micro": 4}, {}),
    "micro-batches of 1, were 8": ("cut", {"micro": 1}, {}),
}
ON_CARD: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "nothing": ("nothing", {}, {}),
    "micro-batches of 4, were 8": ("cut", {"micro": 4}, {}),
    "attention: no fused kernel": ("kernels", {"attention": ["MATH"]}, {}),
    "attention: memory-efficient": ("kernels", {"attention": ["EFFICIENT_ATTENTION"]}, {}),
    "attention: flash": ("kernels", {"attention": ["FLASH_ATTENTION"]}, {}),
    "products: cuBLASLt": ("kernels", {"blas": "cublaslt"}, {}),
    "products: sums in fp32 only": ("kernels", {"reduced": False}, {}),
    "deterministic algorithms": ("kernels", {"deterministic": True}, {}),
    "processor, was accelerator": ("device", {"device": "cpu", "steps": DECIDING}, {}),
    "micro-batches of 1, were 8": ("cut", {"micro": 1}, {}),
}
"""As above, for a card: what another torch, cuBLAS or card would pick stands for kernels."""
PLANTED = {"one weight matrix * 1.01": "matrix", "one LayerNorm * 1.01": "norm"}


def in_child(jobs: list[dict[str, Any]], environment: dict[str, str]) -> list[Lines]:
    """Train one job after another in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--jobs", json.dumps(jobs)],
        # Threads that wait must not spin: on a busy machine they would hinder one another.
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [[tuple(each) for each in lines] for lines in json.loads(done.stdout.splitlines()[-1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One seed, precision and size of model: what is trained once and repeated with each change."""

    seed: int
    precision: str
    width: int
    device: str

    def measured(self, directory: Path) -> Iterator[tuple[str, list[float]]]:
        """Yield, by change, the largest relative differences: loss, gradient, loss of all steps."""
        steps = steps_on(self.device)
        first = {
            "seed": self.seed, "precision": self.precision, "device": self.device, "threads": 2 if self.device == "cpu" else 1,
            "micro": BATCH, "state": str(directory / f"{self.precision}-{self.width}-{self.seed}.pt"),
            "first": 0, "steps": steps, "save": True, "width": self.width,
        }  # fmt: skip
        job = first | {"first": steps, "save": False}
        cases = {name: (job | new, env) for name, (_, new, env) in self._changes().items()}
        cases |= {name: (job | {"planted": leaf}, {}) for name, leaf in PLANTED.items()}
        if self.device == "cpu":
            yield from self._in_children(first, job, cases)
        else:
            train(first)
            was = train(job)
            for name, (changed, _) in cases.items():
                yield name, self._tried(was, changed)

    def _changes(self) -> dict[str, tuple[str, dict[str, Any], dict[str, str]]]:
        if self.device == "cpu":
            return CHANGES
        without = set()
        if self.width > WIDTH:
            without = {"processor, was accelerator", "micro-batches of 1, were 8"}  # they take long
        if self.precision == "tf32":
            without.add("processor, was accelerator")  # which has no such units
        return {name: each for name, each in ON_CARD.items() if name not in without}

    def _tried(self, was: Lines, job: dict[str, Any]) -> list[float]:
        """Return the differences; nothing for what this card or torch can't do."""
        try:
            return _differences(was[: job["steps"]], train(job))
        except RuntimeError as error:
            print(f"not possible: {str(error).splitlines()[0][:150]}", file=sys.stderr, flush=True)
            return []

    def _in_children(
        self,
        first: dict[str, Any],
        job: dict[str, Any],
        cases: dict[str, tuple[dict[str, Any], dict[str, str]]],
    ) -> Iterator[tuple[str, list[float]]]:
        here = [name for name, (_, environment) in cases.items() if not environment]
        _, was, *found = in_child([first, job, *(cases[name][0] for name in here)], {})
        now = dict(zip(here, found, strict=True))
        for name, (changed, environment) in cases.items():
            if environment:
                now[name] = in_child([changed], environment)[0]
            yield name, _differences(was, now[name])


def steps_on(device: str) -> int:
    """Return how many steps are trained, and how many of them are repeated."""
    return DECIDING if device == DRY else LATER


def _differences(was: Lines, now: Lines) -> list[float]:
    each = [
        [abs(b - a) / abs(a) for a, b in zip(x, y, strict=True)]
        for x, y in zip(was, now, strict=True)
    ]
    deciding = each[:DECIDING]
    return [
        max(loss for loss, _ in deciding),
        max(norm for _, norm in deciding),
        max(loss for loss, _ in each),
    ]


def rounded_up(value: float) -> float:
    """Return a figure rounded up to one digit."""
    if value == 0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / unit) * unit


class Table:
    """Rows as they come, and at the end the worst of all seeds, and the bounds that follow.

    Args:
        device: What they were measured on.
        file: Where everything is written after each row; None for nowhere.
    """

    def __init__(self, device: str, file: Path | None) -> None:
        self._is_cpu, self._file = device == "cpu", file
        name = torch.cuda.get_device_name(0) if device.startswith("cuda") else device
        self.title = f"torch {torch.__version__}, {name}, {torch.backends.cpu.get_cpu_capability()}"
        self._rows: list[dict[str, Any]] = []

    def take(self, setting: Setting, name: str, found: list[float]) -> None:
        """Take in a row; on a card print it at once."""
        figures = dict(zip(("loss", "gradient", "later loss"), found, strict=False))
        place = {"precision": setting.precision, "width": setting.width, "seed": setting.seed}
        self._rows.append(place | {"change": name} | figures)
        if not self._is_cpu:
            print(_row(setting.precision, setting.width, name, found), f"  seed {setting.seed}",
                  flush=True)  # fmt: skip
        if self._file is not None:
            content = {"device": self.title, "rows": self._rows}
            whole = self._file.with_suffix(".new")  # a reader never meets half a file
            whole.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            whole.replace(self._file)

    def print_worst(self) -> None:
        """Print the largest of all seeds, and for each kind of change its bound."""
        worst: dict[tuple[str, int, str], list[float]] = {}
        kinds: dict[tuple[str, str], list[float]] = {}
        for row in self._rows:
            if "loss" not in row:
                continue
            found = [row["loss"], row["gradient"], row["later loss"]]
            _keep_largest(worst, (row["precision"], row["width"], row["change"]), found)
            if row["change"] not in PLANTED:
                kind = (CHANGES | ON_CARD)[row["change"]][0]
                _keep_largest(kinds, (row["precision"], kind), found)
        print(f"\nlargest of all seeds\n{HEAD}")
        for (precision, width, name), found in worst.items():
            print(_row(precision, width, name, found))
        for (precision, kind), (loss, norm, _) in kinds.items():
            safety = SAFETY[precision]
            print(f"{precision:9}         bound for {kind:18}  {rounded_up(safety * loss):13.0e}  "
                  f"{rounded_up(safety * norm):8.0e}")  # fmt: skip


HEAD = (
    f"{'precision':9}  {'width':>5}  {'change':28}  {'loss, 5 steps':>13}  {'gradient':>8}  "
    f"{'loss, 20':>8}"
)


def _row(precision: str, width: int, name: str, found: list[float]) -> str:
    place = f"{precision:9}  {width:5}  {name:28}"
    if not found:
        return f"{place}   not possible"
    loss, norm, later = found
    return f"{place}  {loss:13.1e}  {norm:8.1e}  {later:8.1e}"


def _keep_largest(largest: dict[Any, list[float]], key: Any, found: list[float]) -> None:
    largest[key] = [max(pair) for pair in zip(found, largest.get(key, found), strict=True)]


def settings(device: str, seeds: int, precisions: list[str]) -> Iterator[Setting]:
    """Yield what is to be measured, what matters most first."""
    for seed in range(seeds):
        for width in [WIDTH] if device == "cpu" else [WIDTH, WIDE]:
            for precision in precisions:
                yield Setting(seed=seed, precision=precision, width=width, device=device)


def print_table(table: Table, given: argparse.Namespace, precisions: list[str]) -> None:
    """Measure and print, until it is done or the time is over."""
    until = time.monotonic() + given.seconds
    steps = steps_on(given.device)
    told = f"{given.seeds} seeds, steps {steps + 1} to {2 * steps}"
    print(f"{table.title}; {told}\n{HEAD}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for setting in settings(given.device, given.seeds, precisions):
            for name, found in setting.measured(Path(directory)):
                table.take(setting, name, found)
                if time.monotonic() > until:
                    print(f"ended after its {given.seconds:.0f} s")
                    table.print_worst()
                    return
    table.print_worst()


def print_cost(steps: int = 1000) -> None:
    """Print what the proof adds to a step that is repeated, and to one that is watched only."""

    def line(n: int) -> dict[str, Any]:
        return {
            "step": n, "updates": n, "epoch": 0, "samples": 64, "sample_digest": f"{n:032x}",
            "loss": 2 + math.sin(n) / 10, "text_loss": 1.0, "mel_loss": 1.0, "mel_top1": 0.5,
            "lr": 1e-4, "grad_norm": 1 + math.cos(n) / 10, "micro_batch": 8,
        }  # fmt: skip

    for name, known in (("repeated and watched", steps), ("watched", 0)):
        said: list[str] = []
        past = Past(
            before=[line(n) for n in range(1000)],
            beyond={n: Reference(line(n)) for n in range(1000, 1000 + known)},
        )
        monitor = ResumeMonitor(
            ResumeLog(), replay=Replay(past.beyond, 999), watch=Watch(past.before)
        )
        monitor.listen(said.append)
        taken = []
        for n in range(1000, 1000 + steps):
            each = line(n)
            began = time.thread_time()
            monitor.step(each)
            taken.append(time.thread_time() - began)
        taken.sort()
        print(f"{name:22} {1e3 * sum(taken) / steps:.3f} ms a step on average, "
              f"{1e3 * taken[-10]:.3f} ms at most in 99 % of {steps} steps")  # fmt: skip


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--device", default="cpu", help=f"cpu or cuda; {DRY} for a dry run of a card's rows"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", nargs="+", choices=SAFETY, help="default: all that matter")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no row is begun later")
    parser.add_argument("--json", type=Path, help="write everything here, after each row")
    parser.add_argument("--jobs", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.jobs:
        print(json.dumps([train(job) for job in json.loads(given.jobs)]))
        return
    print_cost()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # of the default's size
    kind = "cpu" if given.device == "cpu" else "cuda"
    table = Table(given.device, given.json)
    print_table(table, given, given.precision or PRECISIONS[kind])


if __name__ == "__main__":
    main()
