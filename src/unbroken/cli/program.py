"""A program with several commands: runs one and turns every outcome into an exit code.

Each command is a module with `add_parser(subparsers)`, which adds one parser and sets its default
`run` to a function from the parsed arguments to an exit code. Only the module of the given command
is imported, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from unbroken.errors import SettingsInvalid, Stopped, UnbrokenError

INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE: what a shell reports of a program whose reader went away


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program and its commands."""

    name: str
    """The name of the program, also in help and messages."""
    description: str
    commands: Mapping[str, str]
    """Name -> description, in one line."""
    package: str
    """Package with one module per command; a `-` in a command's name is a `_` in the module's."""
    exit_codes: str
    """Printed under the help."""
    install: str
    """The command that installs missing packages."""


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ` Did you mean X?` for the known word most similar to `word`, or an empty string."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]}?" if close else ""


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in three sentences, with the nearest flag and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises:
            SettingsInvalid: Always.
        """
        words = re.findall(r"invalid choice: '([^']*)'", message)
        hint = nearest(words[0], self.choices()) if words else ""
        raise SettingsInvalid(
            f"{self.prog}: {message}.{hint}",
            "A command with an error is not run.",
            f"Correct it; `{self.prog} --help` shows its usage.",
        )

    def choices(self) -> list[str]:
        """Return all words that its arguments accept, including commands."""
        return [str(choice) for action in self._actions for choice in action.choices or ()]

    def flags(self) -> list[str]:
        """Return all flags of this parser."""
        return [option for action in self._actions for option in action.option_strings]


def run_program(program: Program, argv: Sequence[str] | None = None) -> int:
    """Run a program and return its exit code. Only `--help` raises `SystemExit`.

    Args:
        program: The program.
        argv: The arguments after its name; None uses those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _never_fail_to_print()
    try:
        code = _run(program, words)
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
        return _missing_module(error, program)
    except Exception:  # noqa: BLE001 -- the last line of the program: what arrives here is a bug
        return _bug()
    return code


def _run(program: Program, words: list[str]) -> int:
    parser = Parser(
        prog=program.name,
        description=program.description,
        epilog=program.exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    chosen = next((word for word in words if not word.startswith("-")), "")
    subparsers = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=Parser, required=True
    )
    for name, summary in program.commands.items():
        if name == chosen:
            module = importlib.import_module(f"{program.package}.{name.replace('-', '_')}")
            module.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    arguments, left_over = parser.parse_known_args(_join_negative_numbers(words))
    if left_over:
        _refuse_left_over(left_over, subparsers.choices[arguments.command])
    run: Callable[[argparse.Namespace], int] = arguments.run
    return run(arguments)


def _refuse_left_over(left_over: list[str], parser: Parser) -> NoReturn:
    """Raise an error with the first unknown word and the flag that was probably meant."""
    word = left_over[0].split("=")[0]
    is_flag = word.startswith("-")
    kind = "an unknown flag" if is_flag else "an extra word"
    hint = nearest(word, parser.flags()) if is_flag else ""
    raise SettingsInvalid(
        f"{parser.prog}: {word} is {kind}.{hint}",
        "Without it the command would silently do something else."
        if is_flag
        else "It may be part of a path with a space, or a flag without its two dashes.",
        f"Correct it{'' if is_flag else ' or put quotes around it'}; "
        f"`{parser.prog} --help` lists every flag.",
    )


def _join_negative_numbers(words: list[str]) -> list[str]:
    """Write `--flag -1e-5` as `--flag=-1e-5`, since argparse takes `-1e-5` for a flag.

    What follows `--` is another program's.
    """
    end = words.index("--") if "--" in words else len(words)
    joined: list[str] = []
    for word in words[:end]:
        is_number = re.fullmatch(r"-(\.?\d.*|inf|nan|infinity)", word, re.IGNORECASE)
        if is_number and joined and re.fullmatch(r"--[\w-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined + words[end:]


def _report(error: UnbrokenError) -> int:
    """Print the three sentences and return the exit code; a requested stop is not an error."""
    is_stop = isinstance(error, Stopped)
    try:
        blank = "\n" if sys.stderr.isatty() else ""
        print(f"{blank}{'' if is_stop else 'error: '}{error}", file=sys.stderr, flush=True)
    except OSError:
        # The terminal hung up; the exit code still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return error.exit_code


def _missing_module(error: ModuleNotFoundError, program: Program) -> int:
    """Report a package that isn't installed; a missing module of the program itself is a bug."""
    name = (error.name or "").partition(".")[0]
    if name in {"", "unbroken", "unbroken_tts"}:
        return _bug()
    return _report(
        SettingsInvalid(
            f"The Python package '{name}' is not installed.",
            "This command needs it; some commands need one of the project's extras.",
            f"In the project's directory, run: {program.install}",
        )
    )


def _bug() -> int:
    traceback.print_exc()
    if sys.flags.optimize > 1:
        return _report(
            SettingsInvalid(
                "Python was started with -OO, which removes all docstrings; then the program failed.",
                "Some packages, such as transformers, are built from docstrings and can't work so.",
                "Start it without -OO, and without PYTHONOPTIMIZE=2; -O is fine.",
            )
        )
    print(
        "error: this is a bug in the program, not a mistake of yours.\n"
        "Saved files are untouched.\n"
        "Please report it with the lines above and your command.",
        file=sys.stderr,
    )
    return 1


def _never_fail_to_print() -> None:
    """Print an escape for a character that the console can't show, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _close_stdout() -> None:
    """Keep Python from reporting the closed pipe again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("unbroken")
    except PackageNotFoundError:
        return "unbroken (not installed)"
