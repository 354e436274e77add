"""The `unbroken` program: looks into checkpoints and looks after them; no GPU is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from unbroken.cli.program import Program, run_program

COMMANDS: Final = {
    "selftest": "do every known fault to a tiny training and say how each is met",
    "verify": "read every byte of checkpoints and compare it with what was saved",
    "inspect": "what is in a checkpoint: position, sizes, parts, tensors, facts",
    "diff": "which tensors, values and facts of two checkpoints differ, and by how much",
    "doctor": "where a run was resumed, what broke there, and likely why",
    "bundle": "collect what somebody needs to help with a run; no weights, no secrets",
    "repair": "mend what can be mended, as a new checkpoint; --dry-run only explains",
    "prune": "delete old checkpoints by rules; --dry-run only says which",
    "pin": "keep checkpoints for ever, whatever the rules say",
    "unpin": "let the rules decide about checkpoints again",
}

DESCRIPTION: Final = """\
Look into the checkpoints of a training run, and look after them. A PATH is a checkpoint or the
directory of a run. Tensors are read block by block: a checkpoint may be larger than the memory."""

EXIT_CODES: Final = """\
exit codes:
    0  done; all is whole; nothing differs
    1  a bug of ours
    2  the command can't be run as typed, or another process writes to the run
    3  diff: the two differ
    4  a checkpoint is not whole, or there is none
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
    """Run the program and return its exit code; nothing escapes but `SystemExit` of `--help`.

    Args:
        argv: The words after the program's name; None takes those of the process.
    """
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
