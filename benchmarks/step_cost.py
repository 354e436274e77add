"""What is added to a training step: its journal line, and what is looked at for it.

    python benchmarks/step_cost.py             # seconds
    python benchmarks/step_cost.py --steps 20  # only shows that it runs

Between two steps the model is trained, so that the caches hold other things, as they do in a training.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

import unbroken
from unbroken.audit.self_audit import SelfAudit
from unbroken.journal.record import RunRecord
from unbroken.state.fingerprint import StepFingerprint

WIDTH, LAYERS, BATCH = 512, 12, 64


def model_of() -> nn.Sequential:
    """Return a model of some 6 million parameters, with dropout and LayerNorm."""
    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        layers += [nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 1))


def timed(owner: Any, name: str, taken: dict[str, float]) -> None:
    """Replace a method by one that adds its seconds to those of the step."""
    call: Callable[..., Any] = getattr(owner, name)

    def measured(*args: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*args, **named)
        finally:
            key = f"{owner.__name__}.{name}"
            taken[key] = taken.get(key, 0.0) + time.perf_counter() - began

    setattr(owner, name, measured)


def measure(steps: int, directory: Path) -> tuple[list[float], list[dict[str, float]]]:
    """Return the seconds of each step, and of what was added to it, by what it was."""
    model = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    names = [f"sample-{i}" for i in range(BATCH * steps)]
    run = unbroken.Run(
        directory,
        order=unbroken.StepBatches(names, None, BATCH, seed=1),
        model=model,
        optimizer=optimizer,
        save_every=0,
    )
    run.resume("")
    taken: dict[str, float] = {}
    for owner, name in (
        (RunRecord, "step"),
        (StepFingerprint, "record"),
        (StepFingerprint, "summary"),
        (SelfAudit, "before_step"),
        (SelfAudit, "gradients_are_in"),
        (SelfAudit, "before_backward"),
    ):
        timed(owner, name, taken)
    whole, added = [], []
    for _ in range(steps):
        began = time.perf_counter()
        step = run.begin_step()
        for micro in step.micro_batches(BATCH):
            step.backward(model(torch.randn(len(micro.indices), WIDTH)).square().mean())
        step.update(clip_norm=1.0)
        whole.append(time.perf_counter() - began)
        added.append(dict(taken))
        taken.clear()
    run.close()
    return whole, added


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as place:
        whole, added = measure(steps, Path(place) / "run")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}")
    audited = [sum(e for n, e in each.items() if n.startswith("SelfAudit")) for each in added]
    first = ", ".join(f"{1e3 * each:.1f}" for each in audited[:4])
    print(f"the self-audit in the first steps: {first} ms")
    for name in added[-1]:
        print(f"{name:<23} {1e3 * median(each.get(name, 0.0) for each in added):.3f} ms a step")
    sums = sorted(sum(each.values()) for each in added)
    print(f"{'all of it':<23} {1e3 * median(sums):.3f} ms a step "
          f"({100 * median(sums) / median(whole):.2f} % of a step of {1e3 * median(whole):.0f} ms), "
          f"{1e3 * sums[int(0.95 * len(sums))]:.3f} ms in 95 of 100")  # fmt: skip


if __name__ == "__main__":
    main()
