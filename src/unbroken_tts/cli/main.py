"""The `unbroken-tts` program; each command is a module of this package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from unbroken import Parser, Program, run_program

__all__ = ["COMMANDS", "Parser", "main"]

COMMANDS: Final = {
    "prepare": "turn recordings and their texts into training data",
    "retokenize": "make new text ids for prepared data; codes and conditioning stay",
    "tokenizer": "train, extend, judge and compare tokenizers",
    "train": "train, or resume training",
    "rescue": "continue a run of the earlier trainer, and see what it suffered",
    "evaluate": "print the losses of a run, a checkpoint or a gpt.pth over manifests",
    "say": "speak a text with a trained voice",
    "normalise": "show what a model reads for a text",
    "front": "measure whether inference reads texts as the training did",
    "export": "write a run's weights for inference, as a folder or a gpt.pth",
    "inspect": "show what a file of weights or a run contains",
    "demo": "see it work: train, kill, resume exactly, speak",
    "example": "write small example data under the names the README uses",
}

DESCRIPTION: Final = """\
Fine-tune an IndexTTS2-style speech model on a new language. To continue a run that was stopped or
killed, run the same command again."""

EXIT_CODES: Final = """\
exit codes:
    0  done
    1  a bug in this program
    2  the command can't be run as typed, or an input is bad
    3  the inputs are valid but are not this run's
    4  no usable checkpoint
    5  could not save, and the limit of lost work is reached
    6  a loss or gradient is not finite
    75  stopped on request and saved: run the same command again
    130  Ctrl+C (saved if training had begun)"""

INSTALL: Final = 'python -m pip install -c constraints.txt -e ".[demo]"'


def main(argv: Sequence[str] | None = None, *, prog: str = "unbroken-tts") -> int:
    """Run the program and return its exit code. Only `--help` raises `SystemExit`.

    Args:
        argv: The arguments after the program's name; None uses those of the process.
        prog: The program's name in help and messages.
    """
    program = Program(
        name=prog,
        description=DESCRIPTION,
        commands=COMMANDS,
        package="unbroken_tts.cli",
        exit_codes=EXIT_CODES,
        install=INSTALL,
    )
    return run_program(program, argv)


if __name__ == "__main__":
    sys.exit(main())
