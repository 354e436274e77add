"""Measure how far a repeated step may lie from the first time when only the environment changes.

Usage: python benchmarks/replay_bounds.py [--device cpu|cuda] [--seeds N]

A small transformer is trained to a checkpoint, and some steps on; the same steps are then repeated
from the checkpoint in processes of their own, each with one change: other threads, other
instructions, another cut of the step batch, another device. Printed are the largest relative
differences of loss and gradient norm over the first five steps, per precision, and the bound that
src/unbroken/replay/bounds.py should hold: ten times that in fp32 and three times in bf16, rounded up
to one digit; and what a planted fault of 1 % makes, which must lie above. Before it stands what
replay and watch add to a step, in processor time.
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
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unbroken.journal.past import Past, Reference
from unbroken.run.monitor import ResumeMonitor, nowhere
from unbroken.state.position import Position

SAFETY = {"fp32": 10, "bf16": 3, "fp16": 3}
DECIDING, LATER = 5, 20
WIDTH, LAYERS, VOCABULARY, BATCH, LENGTH = 128, 3, 512, 8, 48
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
PLANTED = {"one weight matrix * 1.01": "matrix", "one LayerNorm * 1.01": "norm"}


class Model(nn.Module):
    """A small causal transformer without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the summed loss of predicting tokens (B, T) int64 from those before."""
        mask = nn.Transformer.generate_square_subsequent_mask(
            tokens.shape[1] - 1, device=tokens.device
        )
        hidden = self.layers(self.embedding(tokens[:, :-1]), mask=mask, is_causal=True)
        logits = self.head(hidden).float()
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum"
        )


def train(job: dict[str, Any]) -> list[tuple[float, float]]:
    """Train as a job says; return loss and gradient norm of each step."""
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    model = Model().to(job["device"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if Path(job["state"]).is_file():
        found = torch.load(job["state"], weights_only=True, map_location=job["device"])
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
    if job.get("planted"):
        leaf = model.layers.layers[1]
        with torch.no_grad():
            (leaf.linear1 if job["planted"] == "matrix" else leaf.norm1).weight.mul_(1.01)
    steps = range(job["first"], job["first"] + job["steps"])
    lines = [one_step(model, optimizer, step, job) for step in steps]
    if job.get("save"):
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, job["state"])
    return lines


def one_step(
    model: Model, optimizer: torch.optim.Optimizer, step: int, job: dict[str, Any]
) -> tuple[float, float]:
    """Make one step on tokens that follow from its number."""
    own = torch.Generator().manual_seed(1000 * job["seed"] + step)
    ramp = torch.arange(LENGTH + 1) * torch.randint(1, 7, (BATCH, 1), generator=own)
    tokens = (ramp + torch.randint(0, 64, (BATCH, LENGTH + 1), generator=own)) % VOCABULARY
    total = torch.zeros((), device=job["device"])
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(job["precision"])
    for part in tokens.to(job["device"]).split(job["micro"]):
        with torch.autocast(torch.device(job["device"]).type, kind, enabled=kind is not None):
            loss = model(part) / (BATCH * LENGTH)
        loss.backward()
        total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(total), float(norm)


def in_child(
    jobs: list[dict[str, Any]], environment: dict[str, str]
) -> list[list[tuple[float, float]]]:
    """Train one job after another in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--jobs", json.dumps(jobs)],
        # Threads that wait must not spin: on a busy machine they would hinder one another.
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return [[tuple(each) for each in lines] for lines in json.loads(done.stdout.splitlines()[-1])]


def measured(seed: int, precision: str, device: str, directory: Path) -> dict[str, list[float]]:
    """Return by change the largest relative differences: loss, gradient, loss of all steps."""
    first = {
        "seed": seed, "precision": precision, "device": device, "threads": 2, "micro": BATCH,
        "state": str(directory / f"{precision}-{seed}.pt"), "first": 0, "steps": 20, "save": True,
    }  # fmt: skip
    job = first | {"first": 20, "steps": LATER, "save": False}
    cases = {name: (job | new, env) for name, (_, new, env) in CHANGES.items()}
    if device != "cpu":
        cases = {name: each for name, each in cases.items() if CHANGES[name][0] == "cut"}
        cases["processor, was accelerator"] = (job | {"device": "cpu"}, {})
    cases |= {name: (job | {"planted": leaf}, {}) for name, leaf in PLANTED.items()}
    here = [name for name, (_, environment) in cases.items() if not environment]
    _, was, *found = in_child([first, job, *(cases[name][0] for name in here)], {})
    now = dict(zip(here, found, strict=True))
    for name, (changed, environment) in cases.items():
        if environment:
            now[name] = in_child([changed], environment)[0]
    return {name: _differences(was, now[name]) for name in cases}


def _differences(was: list[tuple[float, float]], now: list[tuple[float, float]]) -> list[float]:
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


def print_table(device: str, seeds: int, precisions: list[str]) -> None:
    """Measure and print."""
    print(f"torch {torch.__version__}, {device}, {torch.backends.cpu.get_cpu_capability()}; "
          f"{seeds} seeds, steps 21 to {20 + LATER}")  # fmt: skip
    print(
        f"{'precision':9}  {'change':28}  {'loss, 5 steps':>13}  {'gradient':>8}  {'loss, 20':>8}"
    )
    for precision in precisions:
        worst: dict[str, list[float]] = {}
        with tempfile.TemporaryDirectory() as directory:
            for seed in range(seeds):
                for name, each in measured(seed, precision, device, Path(directory)).items():
                    worst[name] = [
                        max(pair) for pair in zip(each, worst.get(name, each), strict=True)
                    ]
        for name, (loss, norm, later) in worst.items():
            print(f"{precision:9}  {name:28}  {loss:13.1e}  {norm:8.1e}  {later:8.1e}")
        kinds: dict[str, list[float]] = {}
        for name, each in worst.items():
            if name in PLANTED:
                continue
            kind = CHANGES[name][0] if name in CHANGES else "device"
            kinds[kind] = [max(p) for p in zip(each, kinds.get(kind, each), strict=True)]
        for kind, (loss, norm, _) in kinds.items():
            print(f"{precision:9}  bound for {kind:18}  {rounded_up(SAFETY[precision] * loss):13.0e}  "
                  f"{rounded_up(SAFETY[precision] * norm):8.0e}")  # fmt: skip


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
        monitor = ResumeMonitor(0)
        monitor.listen(said.append)
        past = Past(
            before=[line(n) for n in range(1000)],
            beyond={n: Reference(line(n)) for n in range(1000, 1000 + known)},
        )
        monitor.begin(past, Position(step=999), nowhere, checkpoint="")
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
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--jobs", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.jobs:
        print(json.dumps([train(job) for job in json.loads(given.jobs)]))
        return
    print_cost()
    print_table(given.device, given.seeds, given.precision)


if __name__ == "__main__":
    main()
