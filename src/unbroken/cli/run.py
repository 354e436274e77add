"""The command `unbroken run`: runs a training script as it is, and lets it go on where it was stopped."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken.errors import SettingsInvalid, Stopped, UnbrokenError

if TYPE_CHECKING:
    from unbroken.cli.program import Parser
    from unbroken.protection.script import Script

DESCRIPTION: Final = """\
Run a training script, without a changed line in it, so that it goes on where it was stopped. What
its loop trains is found, saved, compared at each start and restored; a table says what was found and
what begins anew. It is what `@unbroken.protect` does to a function.

  unbroken run --out training_output -- python train.py --lr 1e-3
  unbroken run --out training_output -- python -m package.train --lr 1e-3

The exit code is the script's; 75 after a requested stop: start the same command again."""

POLICIES: Final = (
    "save_every",
    "save_minutes",
    "keep",
    "grace_seconds",
    "stop_file",
    "stop_after",
    "seed",
    "on_diverged",
)
"""Flags that are arguments of `unbroken.Run`."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "run",
        help="run a training script as it is, so that it goes on where it was stopped",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="where everything of the run lies"
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        default="",
        help="the loader that is trained on, as the script calls it, where its loop doesn't tell",
    )
    parser.add_argument(
        "--function",
        metavar="NAME",
        default="",
        help="the function whose loop trains, where several may",
    )
    parser.add_argument(
        "--accept",
        metavar="ID",
        action="append",
        default=[],
        help="a check whose difference is meant; repeat it for several",
    )
    _add_policies(parser)
    parser.add_argument(
        "command_words",
        metavar="COMMAND",
        nargs="+",
        help="after `--`: the script and its arguments",
    )
    parser.set_defaults(run=run)


def _add_policies(parser: Parser) -> None:
    """Add the flags that are arguments of `unbroken.Run`."""
    parser.add_argument(
        "--save-every", metavar="N", type=int, help="save after every so many steps (default 1000)"
    )
    parser.add_argument(
        "--save-minutes", metavar="N", type=float, help="save when so many minutes have passed"
    )
    parser.add_argument(
        "--keep", metavar="N", type=int, help="how many of the newest checkpoints stay (default 3)"
    )
    parser.add_argument(
        "--grace-seconds",
        metavar="N",
        type=float,
        help="time from a request to stop until the process must be gone (default 60)",
    )
    parser.add_argument(
        "--stop-file", metavar="PATH", type=Path, help="a file whose existence asks for a stop"
    )
    parser.add_argument(
        "--stop-after",
        metavar="TIME",
        help="save and stop after so long, such as 1h50m: before the limit of a job",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=int,
        help="what all randomness of the steps derives from (default: that of torch.manual_seed)",
    )
    parser.add_argument(
        "--on-diverged",
        choices=("stop", "continue"),
        help="what to do when a repeated step comes out otherwise (default stop)",
    )
    parser.add_argument(
        "--track",
        metavar="NAME",
        action="append",
        default=[],
        help="show the run in tensorboard, wandb, mlflow or trackio; repeat it for several",
    )
    parser.add_argument(
        "--track-project",
        metavar="NAME",
        default="unbroken",
        help="the trackers' project (default unbroken)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the script; return its exit code.

    Raises:
        SettingsInvalid: It can't be read, or has no loop that can be protected.
        SystemExit: The script ends so.
    """
    from unbroken.protection.script import run_script
    from unbroken.trackers.named import tracker

    script = _script(list(arguments.command_words))
    policies = {n: getattr(arguments, n) for n in POLICIES if getattr(arguments, n) is not None}
    policies["trackers"] = [tracker(n, project=arguments.track_project) for n in arguments.track]
    try:
        run_script(
            script,
            arguments.out,
            function=arguments.function,
            data=arguments.data,
            accept=arguments.accept,
            policies=policies,
        )
    except Stopped as stop:
        return stop.exit_code  # the log has told it
    except UnbrokenError:
        raise
    except Exception as error:  # noqa: BLE001  # of the script: told as Python would
        print(_told(error, script.file), file=sys.stderr, end="")
        return 1
    return 0


def _script(words: list[str]) -> Script:
    """Return what a command runs: `python train.py ...`, `python -m name ...`, or without `python`."""
    from unbroken.protection.script import module_of, script_of

    if re.fullmatch(r"python[\d.]*(\.exe)?", Path(words[0]).name):
        _require_this_python(words.pop(0))
    if words[:1] == ["-u"]:
        words.pop(0)
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]  # a text stream has it
    if words[:1] == ["-m"] and len(words) > 1:
        return module_of(words[1], words[2:])
    if not words or words[0].startswith("-"):
        raise SettingsInvalid(
            f"unbroken run: {words[0] if words else 'nothing'} is no script.",
            "Options of Python act when it starts, and it runs already.",
            "Give a script, or -m and a module; write `-X` and `-W` as PYTHON… variables.",
        )
    return script_of(words[0], words[1:])


def _require_this_python(word: str) -> None:
    """Refuse another Python than this one: its packages may be others.

    Raises:
        SettingsInvalid: It is another.
    """
    found = shutil.which(word)
    if found is None or Path(found).absolute().parent != Path(sys.executable).absolute().parent:
        raise SettingsInvalid(
            f"`{word}` is {found or 'not found'}, and this program runs in {sys.executable}.",
            "A script that is run here uses the packages that are installed here.",
            "Leave the word out to run it here: unbroken run --out DIR -- train.py. Or install unbroken "
            "beside the other one.",
        )


def _told(error: Exception, file: str) -> str:
    """Return the traceback from the script on."""
    told = traceback.TracebackException.from_exception(error)
    first = next((i for i, each in enumerate(told.stack) if each.filename == file), 0)
    told.stack = traceback.StackSummary.from_list(told.stack[first:])
    return "".join(told.format())
