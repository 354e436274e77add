"""The `unbroken-tts` program: picks the command, and turns every outcome into an exit code.

Each command is a module `unbroken_tts.cli.<name>` with `add_parser(subparsers)`, which adds one
parser and sets its default `run` to a function from the parsed arguments to an exit code. Only
the module of the command that was typed is imported, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from unbroken.errors import SettingsInvalid, Stopped, UnbrokenError
from unbroken_tts.settings_flags import nearest

COMMANDS: Final = {
    "prepare": "turn recordings and their texts into training data",
    "train": "train, or go on training",
    "evaluate": "losses of a run, a checkpoint or a gpt.pth over manifests",
    "say": "speak a text with a trained voice",
    "export": "write a run's weights as a gpt.pth for inference",
    "demo": "see it work: train, kill, go on exactly, speak",
    "example": "lay out small real files under the names the guide uses",
}

DESCRIPTION: Final = """\
Fine-tune an IndexTTS2-style speech model on a new language. A run that is stopped or killed goes
on as if nothing had happened: repeat the same command."""

EXIT_CODES: Final = """\
exit codes:
    0  done
    1  a bug of ours
    2  the command can't be run as typed, or an input is bad
    3  the inputs are fine but are not this run's
    4  no usable checkpoint
    5  could not save, and the limit of lost work is reached
    6  training went bad (a loss or gradient is not a finite number)
   75  stopped on request and saved: start the same command again
  130  Ctrl+C (saved if training had begun)"""

INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE: what a shell reports of a program whose reader went away

INSTALL: Final = 'python -m pip install -c constraints.txt -e ".[demo]"'


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are ours: three sentences, exit code 2, the nearest flag."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises:
            SettingsInvalid: Always.
        """
        words = re.findall(r"invalid choice: '([^']*)'", message)
        hint = nearest(words[0], list(COMMANDS)) if words else ""
        raise SettingsInvalid(
            f"{self.prog}: {message}.{hint}",
            "A command that is only half understood is not run at all.",
            f"Correct it; `{self.prog} --help` shows how it is used.",
        )

    def flags(self) -> list[str]:
        """Return every flag this parser knows."""
        return [option for action in self._actions for option in action.option_strings]


def main(argv: Sequence[str] | None = None, *, prog: str = "unbroken-tts") -> int:
    """Run the program and return its exit code; nothing escapes but `SystemExit` of `--help`.

    Args:
        argv: The words after the program's name; None takes those of the process.
        prog: The program's name in help and messages.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _never_fail_to_print()
    try:
        code = _run(words, prog)
        sys.stdout.flush()
    except UnbrokenError as error:
        return _report(error)
    except KeyboardInterrupt:
        print("Stopped by Ctrl+C.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _close_stdout()
        return BROKEN_PIPE
    except ModuleNotFoundError as error:
        return _missing_module(error)
    except Exception:  # noqa: BLE001 -- the last line of the program: what arrives here is a bug
        return _bug()
    return code


def _run(words: list[str], prog: str) -> int:
    parser = Parser(
        prog=prog,
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    chosen = next((word for word in words if not word.startswith("-")), "")
    subparsers = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=Parser, required=True
    )
    for name, summary in COMMANDS.items():
        if name == chosen:
            importlib.import_module(f"unbroken_tts.cli.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    arguments, left_over = parser.parse_known_args(_join_negative_numbers(words))
    if left_over:
        _refuse_left_over(left_over, subparsers.choices[arguments.command])
    run: Callable[[argparse.Namespace], int] = arguments.run
    return run(arguments)


def _refuse_left_over(left_over: list[str], parser: Parser) -> NoReturn:
    """Name the first word nobody understood, and the flag it was probably meant to be."""
    word = left_over[0].split("=")[0]
    is_flag = word.startswith("-")
    kind = "an unknown flag" if is_flag else "a word too many"
    hint = nearest(word, parser.flags()) if is_flag else ""
    raise SettingsInvalid(
        f"{parser.prog}: {word} is {kind}.{hint}",
        "What it was meant to change would silently stay as it is."
        if is_flag
        else "Perhaps a path with a blank in it, or a flag without its two dashes.",
        f"Correct it{'' if is_flag else ' or put quotes around it'}; "
        f"`{parser.prog} --help` lists every flag.",
    )


def _join_negative_numbers(words: list[str]) -> list[str]:
    """Write `--flag -1e-5` as `--flag=-1e-5`, which argparse would take for another flag."""
    joined: list[str] = []
    for word in words:
        is_number = re.fullmatch(r"-(\.?\d.*|inf|nan|infinity)", word, re.IGNORECASE)
        if is_number and joined and re.fullmatch(r"--[\w-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _report(error: UnbrokenError) -> int:
    """Print the three sentences and return the exit code of the error."""
    try:
        blank = "\n" if sys.stderr.isatty() else ""
        print(f"{blank}error: {error}", file=sys.stderr, flush=True)
    except OSError:
        # The terminal hung up; what matters now is the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return error.stop_code if isinstance(error, Stopped) else error.exit_code


def _missing_module(error: ModuleNotFoundError) -> int:
    """Tell an optional package that isn't installed from a module of ours that isn't there."""
    name = (error.name or "").partition(".")[0]
    if name in {"", "unbroken", "unbroken_tts"}:
        return _bug()
    return _report(
        SettingsInvalid(
            f"The Python package '{name}' is not installed.",
            "This command needs it; the demo and the trainer come with extras of their own.",
            f"Install it in the project's folder with: {INSTALL}",
        )
    )


def _bug() -> int:
    traceback.print_exc()
    print(
        "error: this is a bug of ours, not a mistake of yours.\n"
        "What was already saved is untouched.\n"
        "Please report it with the lines above and the command you typed.",
        file=sys.stderr,
    )
    return 1


def _never_fail_to_print() -> None:
    """Let a console that can't show a letter print its code instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _close_stdout() -> None:
    """Keep Python from complaining about the closed pipe once more while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 -- slow to import

    try:
        return version("unbroken")
    except PackageNotFoundError:
        return "unbroken (not installed)"


if __name__ == "__main__":
    sys.exit(main())
