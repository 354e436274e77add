"""The command `unbroken bundle`: collects what others need to help with a run, in a zip file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken.cli.figures import shown, size_text
from unbroken.errors import NoUsableCheckpoint, SaveFailed, SettingsInvalid

if TYPE_CHECKING:
    from unbroken.cli.program import Parser

DESCRIPTION: Final = """\
Collect what others need to help with a run: the command of each start, versions, settings, the last
reports of resumes, the history, the first 50 lines of the log after the last resume, the last lines
of the journal, manifests, and the output of `unbroken doctor`. No weights, no samples, no
environment variables; the home directory is written as ~. The contents are listed. The run is not
changed. Exit code 4 if there is nothing to collect.

  unbroken bundle training_output
  unbroken bundle training_output -o for_help.zip"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "bundle",
        help="collect what others need to help with a run; no weights, no secrets",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="the directory of a run")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.zip",
        type=Path,
        help="where to write it [unbroken-bundle-TIME.zip in the current directory]",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Collect, write and list the contents; return the exit code.

    Raises:
        NoUsableCheckpoint: There is nothing to collect.
        SettingsInvalid: The output file exists.
        SaveFailed: It can't be written.
    """
    from unbroken.checkpoint import disk
    from unbroken.checkpoint.layout import is_checkpoint_name
    from unbroken.doctor.bundle import collect, to_zip

    root = arguments.path.absolute()
    if is_checkpoint_name(root.name):
        root = root.parent.parent
    name = f"unbroken-bundle-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.zip"
    output = arguments.output or Path(name)
    if output.exists():
        raise SettingsInvalid(
            f"{output} exists.",
            "It may be something else, and would be overwritten.",
            "Name another file with -o.",
        )
    files = collect(root) if root.is_dir() else {}
    if not files:
        raise NoUsableCheckpoint(
            f"{arguments.path} contains nothing of a run: no journal, history, checkpoint or log.",
            "There is nothing to collect.",
            "Name the directory of the run.",
        )
    content = to_zip(files)
    try:
        disk.replace_file(output, content)
    except OSError as error:
        raise SaveFailed(
            f"{output} can't be written: {error}.",
            "The run was not changed.",
            "Name another place with -o.",
        ) from error
    print(shown(files["README.txt"].partition("\n")[0]))
    for each, text in files.items():
        print(f"  {shown(each):<50} {len(text):>9} characters")
    print(f"{output}: {size_text(len(content))}. Look through it before you send it.")
    return 0
