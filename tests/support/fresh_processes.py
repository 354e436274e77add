"""One training, begun again and again by fresh processes on a busy machine: what each came to.

    python tests/support/fresh_processes.py trainer|library STARTS --steps N --precision fp32|bf16

A fresh process is one forked from a parent that has imported everything and computed nothing. All
compute with two threads while other processes burn the cores. Printed is a JSON object: how often
each result was seen, a digest of the journal and of every saved tensor. `--cold` leaves out the
first calls of `unbroken.first_calls`, to see what they are for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

THREADS = 2
BURN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
"""Keeps a core busy for as long as the process that started it lives."""
LOADED_LATE = (
    "torch._dynamo",
    "torch.utils.tensorboard",
    "transformers.models.gpt2.modeling_gpt2",
    "unbroken_tts.train.main",
)
"""What a training imports on its way: imported once, for every child."""


def leave_out_first_calls() -> None:
    """Make `import unbroken` call nothing."""
    nothing = ModuleType("unbroken.first_calls")
    nothing.make_first_calls_with_torch = lambda: None  # type: ignore[attr-defined]  # a module made up here
    sys.modules["unbroken.first_calls"] = nothing


def trainer(directory: Path, steps: int, precision: str) -> None:
    """Train the example's model on the example's data, which lie in the parent directory."""
    from unbroken_tts.cli.main import main as program  # after what `--cold` does

    data = directory.parent / "preprocessed_amharic"
    code = program(
        ["train", "--train-manifest", str(data / "train_pairs.jsonl"), "--val-manifest", str(data / "val_pairs.jsonl"),
         "--tokenizer", str(directory.parent / "tokenizers/amharic_extended_bpe.model"),
         "--output-dir", str(directory), "--threads", str(THREADS), "--batch-size", "4",
         "--grad-accumulation", "2", "--max-steps", str(steps), "--save-interval", "0",
         "--num-workers", "none", "--no-keep-best", "--precision", precision]
    )  # fmt: skip
    if code != 0:
        raise SystemExit(code)


def library(directory: Path, steps: int, precision: str) -> None:
    """Train a loop of one's own whose loss is a log of sums of exponentials over 701 outputs."""
    import unbroken  # after what `--cold` does

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    data = torch.randn(240, 256)
    model = torch.nn.Sequential(
        torch.nn.Linear(256, 256), torch.nn.Tanh(), torch.nn.Linear(256, 701)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    order = unbroken.StepBatches(
        [f"sample-{i}" for i in range(240)], lengths=None, effective_batch=120, seed=1
    )
    run = unbroken.Run(directory, order=order, model=model, optimizer=optimizer, save_every=0)
    run.resume("auto")
    for step in run.steps(until=steps):
        for micro in step.micro_batches(size=60):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = model(data[list(micro.indices)]).float()
            step.backward((logits.logsumexp(-1) - logits[:, 0]).sum() / 120)
        step.update(clip_norm=1.0)
    run.close()


def came_to(directory: Path) -> str:
    """Return a digest of the journal and of every saved tensor."""
    from support.tiny_trainer import journal, leaf_digests

    content = json.dumps([journal(directory), leaf_digests(directory)], sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def in_fresh_process(train: Callable[[], object]) -> None:
    """Train in a forked process, silently.

    Raises:
        RuntimeError: It failed.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            train()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a training ended with {os.waitstatus_to_exitcode(status)}")


def main() -> None:
    """Start the trainings one after the other; print how often each result was seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("trainer", "library"))
    parser.add_argument("starts", type=int)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--burners", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # a child can't use threads that were started before it was forked
    if asked.cold:
        leave_out_first_calls()
    kind = {"trainer": trainer, "library": library}[asked.kind]
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        if asked.kind == "trainer":
            for name in LOADED_LATE:
                import_module(name)
            from unbroken_tts.cli.main import main as program

            os.chdir(here)
            in_fresh_process(lambda: program(["example"]))
        burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(asked.burners)]
        try:
            for start in range(asked.starts):
                directory = here / f"start-{start}"
                in_fresh_process(partial(kind, directory, asked.steps, asked.precision))
                seen[came_to(directory)] += 1
                shutil.rmtree(directory)
        finally:
            for each in burning:
                each.kill()
                each.wait()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
