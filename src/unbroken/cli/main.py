"""The `unbroken` program: runs scripts, inspects and manages checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from unbroken.cli.program import Program, run_program

COMMANDS: Final = {
    "run": "run a training script as it is, so that it goes on where it was stopped",
    "selftest": "inject every known fault into a tiny training and show what finds it",
    "verify": "compare every byte of checkpoints with what was saved; --ledger: prove each sample's use",
    "inspect": "show the contents of a checkpoint: position, sizes, parts, tensors, facts",
    "diff": "show which tensors, values and facts of two checkpoints differ, and by how much",
    "doctor": "show where a run was resumed, what broke there, and the likely cause",
    "bundle": "collect what others need to help with a run; no weights, no secrets",
    "repair": "repair a checkpoint by writing a new one; --dry-run only explains",
    "prune": "delete old checkpoints by rules; --dry-run only lists them",
    "pin": "keep checkpoints whatever the rules say",
    "unpin": "let the rules decide again about pinned checkpoints",
}

DESCRIPTION: Final = """\
Run a training so that it can be stopped, and inspect and manage its checkpoints. A PATH is a checkpoint or the
directory of a run. Tensors are read in blocks: a checkpoint may be larger than the memory."""

EXIT_CODES: Final = """\
exit codes:
    0  done; nothing is damaged; nothing differs
    1  a bug in this program
    2  the command can't run as typed, or another process writes to the run
    3  diff: the two differ; verify --ledger: a sample was repeated or left out
    4  a checkpoint is damaged, or there is none; verify --ledger: the journal can't tell
    5  the disk refused a change
  130  Ctrl+C"""

PROGRAM: Final = Program(
    name="unbroken",
    description=DESCRIPTION,
    commands=COMMANDS,
    package="unbroken.cli",
    exit_codes=EXIT_CODES,
    install="python -m pip install unbroken",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code. Only `--help` raises `SystemExit`.

    Args:
        argv: The arguments after the program's name; None uses those of the process.
    """
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
