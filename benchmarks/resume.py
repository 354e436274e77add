"""Compares a whole resume, with all that it verifies, with `torch.load` of the same state.

A resume here is what a start does: objects built anew, an optimiser without moments, the files in the
system's cache. Each round measures both ways once, in turns. The forward pass of the probe is measured
apart, and taken off the resume: it is as long as the model makes it.

    python benchmarks/resume.py                   # 6 GB of state: 13 GB of disk, 20 GB of memory, minutes
    python benchmarks/resume.py --gigabytes 0.05  # seconds; only shows that it runs
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from checkpoint_state import VOCABULARY, BenchmarkState
from restore_ways import warm_up
from torch.nn import functional

import unbroken

if TYPE_CHECKING:
    from collections.abc import Callable

HEADS = 4
PROBE_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of one resume."""

    whole: float
    """From the call of `Run.resume` to its return."""
    checks: float
    """Of it, reading the state in and all checks, as the report says; the rest is verifying files."""
    reading: float
    """Of that, putting the state into the live objects, which any way of loading has to do."""
    probe: float
    """One forward pass of the probe; a resume makes one."""

    @property
    def without_probe(self) -> float:
        """What a resume costs beside its forward pass."""
        return self.whole - self.probe

    @property
    def validation(self) -> float:
        """What is there to find out whether the resume is right: all but reading and forward pass."""
        return self.without_probe - self.reading


class Stopwatch:
    """Calls something, and knows how long that took in all."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        began = time.perf_counter()
        try:
            return self.call(*args)
        finally:
            self.seconds += time.perf_counter() - began


def probe_of(state: BenchmarkState) -> unbroken.Probe:
    """Return a probe of one sequence."""
    tokens = torch.arange(PROBE_TOKENS + 1)[None] * 97 % VOCABULARY

    def losses(batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": _loss(state.model, batch["tokens"])}

    return unbroken.Probe({"tokens": tokens}, losses, [state.model])


def _loss(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the loss of a model of GPT-2's shape on tokens (1, PROBE_TOKENS + 1)."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    stream = model.wte(inputs) + model.wpe.weight[: inputs.shape[1]]
    for block in model.h:
        query, key, value = (
            each.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for each in block.c_attn(block.ln_1(stream)).chunk(3, dim=-1)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        stream = stream + block.c_proj(seen.transpose(1, 2).flatten(2))
        stream = stream + block.c_out(functional.gelu(block.c_fc(block.ln_2(stream))))
    logits = model.ln_f(stream) @ model.wte.weight.T
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def run_of(state: BenchmarkState, directory: Path) -> unbroken.Run:
    """Return a run of the state, with a probe."""
    run = state.run(directory)
    run.inspector.probe = probe_of(state)
    return run


def forget(state: BenchmarkState) -> None:
    """Make the objects what a start builds: other weights, an optimiser without moments."""
    state.spoil()
    state.optimizer.state.clear()


def measure_resume(state: BenchmarkState, directory: Path) -> Times:
    """Resume once."""
    run = run_of(state, directory)
    reading = Stopwatch(run.state.restore)
    with patch.object(run.state, "restore", reading):  # the same, timed
        began = time.perf_counter()
        report = run.resume("latest")
        whole = time.perf_counter() - began
    run.close()
    if report.checks.critical or report.checks.warnings:
        raise RuntimeError(f"a healthy resume found {report.checks.critical[:1]}")
    assert run.inspector.probe is not None
    began = time.perf_counter()
    run.inspector.probe.measure()
    probe = time.perf_counter() - began
    return Times(whole=whole, checks=report.checks.seconds, reading=reading.seconds, probe=probe)


def measure_torch(state: BenchmarkState, file: Path) -> float:
    """Load once with `torch.load`, safe from pickles; nothing is verified."""
    began = time.perf_counter()
    state.take(torch.load(file, weights_only=True))
    return time.perf_counter() - began


def row(name: str, seconds: list[float], gigabytes: float, beside: list[float]) -> str:
    """Return a line of the table."""
    ratios = [a / b for a, b in zip(seconds, beside, strict=True)]
    spread = f"({min(seconds):.2f} - {max(seconds):.2f})"
    times = f"{median(ratios):.2f}x ({min(ratios):.2f} - {max(ratios):.2f})"
    middle = median(seconds)
    return f"{name:<30} {middle:7.2f} {middle / gigabytes:7.2f}   {spread:<18} {times}"


def table(ours: list[Times], theirs: list[float], gigabytes: float) -> str:
    """Return the lines that are shown."""
    parts: dict[str, Callable[[Times], float]] = {
        "resume, without the probe": lambda each: each.without_probe,
        "  of it reading the state in": lambda each: each.reading,
        "  of it validation": lambda each: each.validation,
        "    of that verifying files": lambda each: each.whole - each.checks,
        "the probe's forward pass": lambda each: each.probe,
    }
    rows = [row(name, [of(t) for t in ours], gigabytes, theirs) for name, of in parts.items()]
    rows.append(row("torch.load weights_only", theirs, gigabytes, theirs))
    return "\n".join(
        [
            "warm                                 s    s/GB   (range s)          / torch.load (range)",
            *rows,
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=6.0, help="of the state [6.0]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--directory", type=Path, help="where to save; default: a temporary one")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    asked = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text file here
    logging.getLogger("unbroken").setLevel(
        logging.ERROR
    )  # these starts never train, and it says so
    state = BenchmarkState(asked.gigabytes)
    gigabytes, parameters = state.size / 1e9, sum(each.numel() for each in state.model.parameters())
    print(
        f"{parameters / 1e9:.2f} B parameters, {gigabytes:.2f} GB with their moments, "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{asked.rounds} rounds"
    )
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(dir=asked.directory) as temporary:
        directory = Path(temporary)
        (directory / "torch").mkdir()
        torch.save(state.documents(), directory / "torch/state.pt")
        run = run_of(state, directory / "run")
        run.resume("")
        # The state is that after one step; the run is put there as well.
        run.state.position = replace(run.order.after(run.position), updates=1)
        run.save()
        run.close()
        for number in range(asked.rounds):
            for way in ("ours", "theirs") if number % 2 == 0 else ("theirs", "ours"):
                forget(state)
                if way == "ours":
                    warm_up(directory / "run")
                    ours.append(measure_resume(state, directory / "run"))
                else:
                    warm_up(directory / "torch")
                    theirs.append(measure_torch(state, directory / "torch/state.pt"))
    print(table(ours, theirs, gigabytes))
    if asked.json:
        report = {"bytes": state.size, "unbroken": [asdict(t) for t in ours], "torch.load": theirs}
        asked.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
