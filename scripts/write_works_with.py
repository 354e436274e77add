"""Write docs/works-with.md: train every optimiser that is installed, kill it, go on, compare the bits.

Each start is a process of its own. Takes some minutes; needs `fork`.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import torch  # noqa: E402  # after the path

from support.optimizer_catalogue import LEFT_OUT, PACKAGES, trials_of  # noqa: E402
from support.optimizer_trial import OptimizerTrial, state_digest, train_on  # noqa: E402

PAGE = ROOT / "docs" / "works-with.md"

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
# Optimisers that resume exactly

Written by `python scripts/write_works_with.py` on {date}, with Python {python} on a processor. Each
optimiser trained a small model twice: once whole; once saved after three steps, killed by SIGKILL a
step later, and gone on with in a new process. *Exact* means that weights and all state of the optimiser
end with the same bits. The loop is one of its own ([library.md](library.md#a-loop-of-your-own)).
`make test` repeats this in one process for the packages of the `dev` extra.

What is not in the table is treated by these rules:

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
    torch.set_num_threads(1)
    lines, failed = [], 0
    for package in PACKAGES:
        trials = trials_of(package)
        if not trials:
            print(f"{package} is not installed")
            continue
        version = importlib.metadata.version(NAMES.get(package, package)).partition("+")[0]
        rows = []
        for trial in trials:
            result = _result(trial)
            failed += result != "exact"
            print(f"{package} {trial.name}: {result}", flush=True)
            rows.append(f"| `{trial.name}` | {DRIVEN[trial.way]} | {result} |")
        lines += [f"## {NAMES.get(package, package)} {version}", "",
                  "| optimiser | driven by | result |", "| --- | --- | --- |", *rows, ""]  # fmt: skip
    left_out = [f"- `{name}` of pytorch-optimizer: {why}" for name, why in LEFT_OUT.items()]
    head = HEAD.format(date=dt.date.today().isoformat(), python=sys.version.split()[0])  # noqa: DTZ011  # a day
    text = head + "\n".join([*lines, "## Not tried", "", *left_out, ""])
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    return int(failed > 0)


def _result(trial: OptimizerTrial) -> str:
    """Return `exact`, or what came out instead."""
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as killed:
        expected = _process(trial, whole, 8)
        _process(trial, killed, 4, killed_after=3)
        found = _process(trial, killed, 8)
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
