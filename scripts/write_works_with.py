"""Write docs/works-with.md: train every optimiser that is installed, go on, compare the bits.

In one process, in a minute or two. With --killed each start is a process of its own that saves to the disk
and is killed; that takes many minutes, and needs `fork`. With --device cuda the optimisers train on a card,
and the page is docs/works-with-cuda.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import os
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic products on a card

import torch  # noqa: E402  # after the path

from support.optimizer_catalogue import LEFT_OUT, PACKAGES, trials_of  # noqa: E402
from support.optimizer_trial import (  # noqa: E402
    SAVED_AFTER,
    STEPS,
    OptimizerTrial,
    exact_in_one_process,
    state_digest,
    train_on,
)

PAGES = {
    "cpu": ROOT / "docs" / "works-with.md",
    "cuda": ROOT / "docs" / "works-with-cuda.md",
}

NAMES = {
    "pytorch_optimizer": "pytorch-optimizer", "lion_pytorch": "lion-pytorch",
    "adam_mini": "adam-mini", "galore_torch": "galore-torch",
}  # fmt: skip
"""Of the distributions that are called otherwise than what is imported."""

DRIVEN = {
    "plain": "",
    "closure": "`step(closure)`",
    "graph": "`backward(create_graph=True)`",
    "two passes": "`first_step`, `second_step`",
    "fused backward": "`fused_backward(loss, rate)`",
}

HEAD = """\
# Optimisers that resume exactly{place}

Written by `python scripts/write_works_with.py{option}` on {date}, with Python {python} on {device}.
Each optimiser trained a small model for {steps} steps, and once more from what a checkpoint holds of it
after step {saved}: {how} *Exact* means that weights and all state of the optimiser end with the same
bits. `make test` repeats this in one process for the packages of the `dev` extra.

Loops and frameworks are in [works-with-loops.md](works-with-loops.md). What is not in the table here is treated by these rules:

- What the optimiser's own `state_dict()` gives is saved, and its own `load_state_dict()` takes it back.
  Where a class, an object or a hook has its own way, that way is gone.
- What it keeps in attributes, in an optimiser inside, or in plain objects of its own package, and has
  changed since `Run(...)`, is saved as well: numbers, tensors, containers, random generators.
- Entries of a parameter group that come into being while training, and groups that
  `add_param_group` adds, are state. Options are the entries that a new object has too; at a resume
  only those are compared with what the code asks for.
- After the first step the library shows in memory that a new start would take all of this back. If
  not, `NotEncodable` names what would be lost, before anything more is trained.
- Parameters that the optimiser updates and nothing saves, such as fp32 copies of its own, are refused in
  `Run(...)`. If its `state_dict()` has them, they are saved there.
- Schedule-free optimisers may be saved after their `eval()`; call their `train()` before the first
  step after the resume, as always.

"""


def main() -> int:
    """Try all, and write the page; return 1 where one is not exact."""
    given = parse()
    torch.set_num_threads(1)
    if given.device == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    lines, failed = [], 0
    for package in given.package:
        trials = trials_of(package, given.device)
        if not trials:
            print(f"{package} is not installed")
            continue
        version = importlib.metadata.version(NAMES.get(package, package)).partition("+")[0]
        rows = []
        for trial in trials:
            result = _killed(trial) if given.killed else _in_one_process(trial)
            failed += result != "exact"
            print(f"{package} {trial.name}: {result}", flush=True)
            rows.append(f"| `{trial.name}` | {DRIVEN[trial.way]} | {result} |")
        lines += [f"## {NAMES.get(package, package)} {version}", "",
                  "| optimiser | driven by | result |", "| --- | --- | --- |", *rows, ""]  # fmt: skip
    left_out = [f"- `{name}` of pytorch-optimizer: {why}" for name, why in LEFT_OUT.items()]
    head = HEAD.format(
        place=" on a graphics card" if given.device == "cuda" else "",
        option="".join(f" {each}" for each in sys.argv[1:]),
        device="a processor" if given.device == "cpu" else torch.cuda.get_device_name(),
        date=dt.date.today().isoformat(),  # noqa: DTZ011  # a day
        python=sys.version.split()[0],
        steps=STEPS,
        saved=SAVED_AFTER,
        how="the process was killed by SIGKILL a step later."
        if given.killed
        else "new objects of the same process resumed it.",
    )
    text = head + "\n".join([*lines, "## Not tried", "", *left_out, ""])
    PAGES[given.device].write_text(text, encoding="utf-8", newline="\n")
    return int(failed > 0)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--killed", action="store_true", help="each start is a process, and killed")
    parser.add_argument("--device", choices=PAGES, default="cpu", help="where to train [cpu]")
    parser.add_argument(
        "--package", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="only these [all]"
    )
    return parser.parse_args()


def _in_one_process(trial: OptimizerTrial) -> str:
    """Return `exact`, or what came out instead."""
    try:
        with tempfile.TemporaryDirectory() as place:
            differs = exact_in_one_process(trial, Path(place, "run"))
    except Exception as error:  # noqa: BLE001  # whatever it is, it goes onto the page
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return f"differs in {', '.join(differs)}" if differs else "exact"


def _killed(trial: OptimizerTrial) -> str:
    """Return `exact`, or what came out instead, where each start is a process."""
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as killed:
        expected = _process(trial, whole, STEPS)
        _process(trial, killed, SAVED_AFTER + 1, killed_after=SAVED_AFTER)
        found = _process(trial, killed, STEPS)
    if not expected.startswith("digest "):
        return f"does not train here: {expected}"
    return "exact" if expected == found else found


def _process(trial: OptimizerTrial, directory: str, until: int, killed_after: int = 0) -> str:
    """Train in a process of its own; return the digest of its state, or its error."""
    read, write = os.pipe()
    process = os.fork()
    if not process:
        os.close(read)
        try:
            state = train_on(trial, directory, until, saved_after=killed_after)
            told = f"digest {state_digest(state)}"
        except Exception as error:  # noqa: BLE001  # whatever it is, it goes onto the page
            told = f"{type(error).__name__}: {error}".splitlines()[0]
        if killed_after and told.startswith("digest "):
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told_by:
        found = told_by.read()
    os.waitpid(process, 0)
    return found


if __name__ == "__main__":
    sys.exit(main())
