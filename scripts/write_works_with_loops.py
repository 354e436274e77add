"""Write docs/works-with-loops.md: kill the loops that people have, resume them in their own way and in ours.

python scripts/write_works_with_loops.py            # some minutes; each start is a process
python scripts/write_works_with_loops.py --kinds loop
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "works-with-loops.md"
PROGRAM = ROOT / "tests" / "support" / "loops_people_have.py"
sys.path.insert(0, str(ROOT / "tests"))

from support.loop_model import SAVE_EVERY  # noqa: E402  # after the path
from support.loops_people_have import NEEDS  # noqa: E402

KILLED_AT = (5, 2, 7, 4)
"""Updates of each start at which it is killed."""
KINDS = {
    "loop": ("a loop with `torch.save` at each epoch's end", "`Run(data=loader)`"),
    "unchanged": ("", "`@unbroken.protect`, no line of the loop changed"),
    "nanogpt": ("nanoGPT: `iter_num` in the checkpoint, batches drawn in the loop", "`run.iterations()`"),
    "torchdata": ("`StatefulDataLoader`, saved inside epochs", "the same loader, `Run(data=loader)`"),
    "accelerate": ("Accelerate: `save_state`, `load_state`, `skip_first_batches`", "`protect(accelerator, ...)`"),
    "lightning": ("Lightning: `ModelCheckpoint(every_n_train_steps=...)`, `ckpt_path`", "`protect(trainer)`"),
    "transformers": (
        "Hugging Face `Trainer`: `save_steps`, `resume_from_checkpoint`, samples that draw",
        "`protect(trainer)`",
    ),
}  # fmt: skip
"""By kind: how people save it, and how it is written with us; empty where there is no such way."""

HEAD = """\
# Loops that were killed

Written by `python scripts/write_works_with_loops.py` on {date}, with Python {python}, {packages}, on
a processor. Each program trains a model with dropout on shuffled samples and saves every {every} updates,
or at each epoch's end. It is started {starts} times: {killed} starts get SIGKILL, at updates {at} of theirs,
and the last one ends. *Same weights* means the same bits as the program that nobody killed; what a
resume printed of its proof is in brackets. The programs are in `tests/support/loops_people_have.py`.

| the loop, resumed in its own way | ends with | with `unbroken` | ends with |
| --- | --- | --- | --- |
"""

FOOT = """
A loop of its own loses the state of the generators: other dropout masks, another shuffle. What is killed in
the middle of a save is another matter: `tests/crash/test_ckpt_chaos.py` kills each of ours at every file event.
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the starts of a program ended."""

    digest: str
    """Of its weights; empty where it failed."""
    verdicts: tuple[str, ...]
    """Of each resume that repeated steps."""


def main() -> None:
    """Run all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--stdout", action="store_true", help="print the rows, write no page")
    given = parser.parse_args()
    rows = [row(kind) for kind in given.kinds if is_there(kind)]
    if given.stdout:
        sys.stdout.write("\n".join(rows) + "\n")
        return
    packages = ["torch", *(name for name in NEEDS.values() if importlib.util.find_spec(name))]
    head = HEAD.format(
        date=dt.datetime.now(dt.UTC).date(),
        python=platform.python_version(),
        packages=", ".join(f"{each} {importlib.metadata.version(each)}" for each in packages),
        every=SAVE_EVERY,
        starts=len(KILLED_AT) + 1,
        killed=len(KILLED_AT),
        at=", ".join(map(str, KILLED_AT)),
    )
    PAGE.write_text(head + "\n".join(rows) + "\n" + FOOT, encoding="utf-8")


def is_there(kind: str) -> bool:
    """Say whether the package that a kind needs is installed."""
    return kind not in NEEDS or importlib.util.find_spec(NEEDS[kind]) is not None


def row(kind: str) -> str:
    """Return the row of a kind."""
    own, ours = KINDS[kind]
    cells = [own, result(kind, "own") if own else "", ours, result(kind, "unbroken")]
    return f"| {' | '.join(cells)} |"


def result(kind: str, way: str) -> str:
    """Return what a program that was killed came to."""
    with tempfile.TemporaryDirectory() as place:
        whole = started(kind, way, Path(place) / "whole")
        deaths = [started(kind, way, Path(place) / "killed", at) for at in KILLED_AT]
        last = started(kind, way, Path(place) / "killed")
    if not whole.digest or not last.digest:
        return "an error"
    found = [each for one in (*deaths, last) for each in one.verdicts]
    told = f" ({len(found)} times {found[0]})" if len(set(found)) == 1 else ""
    told = told or (f" ({', '.join(found)})" if found else "")
    return ("same weights" if last.digest == whole.digest else "**other weights**") + told


def started(kind: str, way: str, directory: Path, killed_at: int | None = None) -> Ended:
    """Start a program."""
    words = [kind, way, str(directory), *([] if killed_at is None else [str(killed_at)])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), *sys.path])
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if killed_at is None and done.returncode:
        sys.stderr.write(done.stderr)
    verdicts = [
        line.split()[1]
        for line in done.stderr.splitlines()
        if line.startswith("[Replay] ") and "UNPROVED" not in line
    ]
    return Ended(done.stdout.partition("weights ")[2].strip(), tuple(verdicts))


if __name__ == "__main__":
    main()
