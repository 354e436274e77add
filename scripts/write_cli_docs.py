"""Write docs/cli.md from the commands and the declarations of the flags; with --check only compare.

The page has the texts of `--help` as tables. It is not written by hand, and `make check` fails if it
is not current.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from written_page import write_or_compare

from unbroken.cli.main import COMMANDS as LIBRARY_COMMANDS
from unbroken.cli.program import Parser
from unbroken_tts.cli.main import COMMANDS
from unbroken_tts.settings import GROUPS
from unbroken_tts.settings.declaration import mark
from unbroken_tts.settings_flags import add_flags, flag

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

HEAD = """\
# The commands and their flags

Written by `scripts/write_cli_docs.py` from the program itself; don't edit it.
`unbroken-tts COMMAND --help` shows the same on the terminal.

| command | what it does |
| --- | --- |
{commands}

`unbroken` inspects and manages the checkpoints of any run ([checkpoints.md](checkpoints.md)):

| command | what it does |
| --- | --- |
{library_commands}

Exit codes are listed in [architecture.md](architecture.md#exit-codes).

## `unbroken-tts train`

`python trainers/train_gpt_v2.py` is the same program. Every flag can also be set in a YAML file given
with `--settings FILE`, without the dashes (`learning-rate: 5e-6`; a repeatable one as a list). A flag
overrides the file. A switch is turned off with `--no-...`.

The value in [brackets] is the default. The column **resume** shows whether the value must be the same
when a run is resumed.
"""


COMMAND_HEAD = """\
## `{program} {name}`

{description}

| argument | meaning |
| --- | --- |
{rows}
"""


def sections_of(program: str, package: str, commands: Iterable[str]) -> list[str]:
    """Return a section for each of some commands of a program."""
    subparsers = Parser(prog=program).add_subparsers(parser_class=Parser)
    sections = []
    for name in commands:
        importlib.import_module(f"{package}.{name}").add_parser(subparsers)
        sections += sections_of_parser(program, name, subparsers.choices[name])
    return sections


def sections_of_parser(program: str, name: str, parser: argparse.ArgumentParser) -> list[str]:
    """Return a section for a command, and one for each of its actions if it has any."""
    shown = [action for action in parser._actions if action.dest != "help"]  # noqa: SLF001 -- argparse lists them nowhere else
    actions = [each for each in shown if isinstance(each, argparse._SubParsersAction)]  # noqa: SLF001 -- likewise
    rows = [
        f"| `{', '.join(each.option_strings)}{_value(each)}`".replace("` ", "`")
        + f" | {_cell(_expanded(parser, each))} |"
        for each in shown
        if each not in actions
    ]
    rows += [
        f"| `{each.dest}` | {_cell(each.help)} |"
        for action in actions
        for each in action._choices_actions  # noqa: SLF001 -- likewise
    ]
    text = "\n\n".join(map(_paragraph, (parser.description or "").split("\n\n")))
    sections = [
        COMMAND_HEAD.format(program=program, name=name, description=text, rows="\n".join(rows))
    ]
    for action in actions:
        for word, own in action.choices.items():
            sections += sections_of_parser(program, f"{name} {word}", own)
    return sections


def page() -> str:
    """Return the whole page."""
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(parser)
    helps = {action.dest: action for action in parser._actions}  # noqa: SLF001 -- argparse lists them nowhere else
    commands = "\n".join(f"| `unbroken-tts {name}` | {text} |" for name, text in COMMANDS.items())
    library = "\n".join(
        f"| `unbroken {name}` | {text} |" for name, text in LIBRARY_COMMANDS.items()
    )
    parts = [HEAD.format(commands=commands, library_commands=library)]
    for group in GROUPS:
        rows = [
            f"| `{flag(name)}{_value(helps[name])}` | {_cell(helps[name].help)} "
            f"| {mark(field).resume} |"
            for name, field in group.model_fields.items()
        ]
        title = group.model_config.get("title")
        parts.append(
            f"### {title}\n\n| flag | meaning | resume |\n| --- | --- | --- |\n" + "\n".join(rows)
        )
    others = [name for name in COMMANDS if name != "train"]
    parts += sections_of("unbroken-tts", "unbroken_tts.cli", others)
    parts += sections_of("unbroken", "unbroken.cli", LIBRARY_COMMANDS)
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _paragraph(text: str) -> str:
    """Return a paragraph of a help text; one that is indented is what a person types."""
    if all(line.startswith("  ") for line in text.splitlines()):
        return f"```\n{textwrap.dedent(text)}\n```"
    return text


def _expanded(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action)  # noqa: SLF001 -- argparse shows it nowhere else


def _value(action: argparse.Action) -> str:
    return "" if not action.metavar else f" {action.metavar}".replace("|", "\\|")


def _cell(text: str | None) -> str:
    return (text or "").replace("%%", "%").replace("|", "\\|")


def main() -> int:
    """Write the page, or compare it with --check; return the exit code."""
    return write_or_compare(PAGE, page())


if __name__ == "__main__":
    sys.exit(main())
