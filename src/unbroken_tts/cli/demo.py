"""The command `unbroken-tts demo`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken import SettingsInvalid

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.demo.story import Story

DESCRIPTION: Final = """\
Show an exact resume, offline, on two CPU cores, within five minutes. Amharic and English speech
become training data; a small base is trained on English and its vocabulary extended. Run A trains
on Amharic without interruption, run B is killed without warning and resumed, run C restarts from
the weights alone. A and B are compared to the last bit, and speak."""

EPILOG: Final = """\
Writes one HTML page with table, curves and players. Exit code 0 if A and B are equal, 3 if not."""

EXTRAS: Final = ("espeakng_loader", "matplotlib", "soundfile")
DIVERGED: Final = 3
LARGEST_SEED: Final = 2**63 - 1


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work: train, kill, resume exactly, speak",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--quick",
        action="store_true",
        help="finish within 90 seconds: less speech, fewer steps, less clear words",
    )
    add(
        "--output",
        type=Path,
        default=Path("demo_output"),
        metavar="DIR",
        help="directory for everything the demo writes [%(default)s]",
    )
    add(
        "--kill-seed",
        type=int,
        metavar="N",
        help="seed for the moments at which B is killed [random]",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and print its results; return the exit code."""
    _require_extras()
    seed = time.time_ns() % 1_000_000 if arguments.kill_seed is None else arguments.kill_seed
    if not 0 <= seed <= LARGEST_SEED:
        raise SettingsInvalid(
            f"--kill-seed is {seed}, but must be 0 or more and below 2**63.",
            "It seeds the generator that draws the moments of the kills.",
            "Give --kill-seed a whole number such as 7.",
        )

    from unbroken_tts.cli.stages import stage_lines
    from unbroken_tts.demo.scale import FULL, QUICK
    from unbroken_tts.demo.show import show

    began = time.monotonic()
    print(f"Kill seed {seed} (to repeat: --kill-seed {seed})", flush=True)
    with stage_lines() as stages:
        story = show(
            arguments.output, QUICK if arguments.quick else FULL, kill_seed=seed, stages=stages
        )
    _print(story, arguments.output, time.monotonic() - began)
    return 0 if story.is_proved else DIVERGED


def _require_extras() -> None:
    missing = [name for name in EXTRAS if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsInvalid(
            f"The demo needs packages that are not installed: {', '.join(missing)}.",
            "They speak the corpus and draw the curves; training doesn't need them.",
            'In the project\'s directory, run: python -m pip install -e ".[demo]"',
        )


def _print(story: Story, output: Path, seconds: float) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from unbroken_tts.demo.show import PAGE, PICTURE

    is_plain = not sys.stdout.isatty()
    console = Console(width=110 if is_plain else None, highlight=False)
    for number, kill in enumerate(story.runs.kills, start=1):
        console.print(f"B was killed ({number}) {kill.words}")
    console.print(f"C restarted from B's weights of step {story.runs.naive_from}")
    table = Table(box=box.ASCII if is_plain else box.SIMPLE_HEAD, title="The proof")
    for name in ("compared", "how much", "A", "B", ""):
        table.add_column(name, no_wrap=name in {"A", "B"})
    for row in story.rows:
        verdict = "[green]equal[/]" if row.is_equal else "[bold red]DIFFERS[/]"
        table.add_row(row.what, row.size, row.first, row.second, verdict)
    console.print(table)
    for line in story.judged():
        console.print(line, soft_wrap=True)
    equal = sum(row.is_equal for row in story.rows)
    console.print(
        f"\nA and B {'are equal to the last bit' if story.is_proved else 'DIFFER'}: "
        f"{equal} of {len(story.rows)} comparisons agree. Took {seconds:.0f} s."
    )
    for what, place in (("page", PAGE), ("curves", PICTURE), ("sound", "audio"), ("runs", "runs")):
        console.print(f"  {what:7}{output / place}", soft_wrap=True)
