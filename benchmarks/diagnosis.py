"""Measures how long a person waits for the diagnosis of a resume that goes wrong.

From the start of the trainer's own command, in a process of its own, to its end with exit code 3. It
resumes run A of a finished demo, each time with another mistake, and changes none of its checkpoints.

    unbroken-tts demo --quick && python benchmarks/diagnosis.py demo_output
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

MISTAKES = {
    "none, only --help": ("--help",),
    "another learning rate": ("--learning-rate", "0.02"),
    "another weight decay": ("--weight-decay", "0.3"),
    "another seed": ("--seed", "99"),
}
"""What is added to the command of the run."""
REFUSED = 3


def command_of(run: Path) -> list[str]:
    """Return the trainer's flags as the history of a run tells them, without --resume."""
    lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
    starts = [each for each in map(json.loads, lines) if each["event"] == "start"]
    words: list[str] = starts[0]["command"]
    flags = words[words.index("--") + 1 :] if "--" in words else words[2:]
    at = flags.index("--resume") if "--resume" in flags else len(flags)
    return [*flags[:at], *flags[at + 2 :]]


def seconds_of(flags: list[str], mistake: tuple[str, ...]) -> float:
    """Start the trainer with a mistake; return when it was gone.

    Raises:
        RuntimeError: It ended otherwise than refused.
    """
    trainer = Path(__file__).parents[1] / "trainers/train_gpt_v2.py"
    command = [sys.executable, str(trainer), *flags, "--resume", "auto", *mistake]
    began = time.perf_counter()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True
    )
    seconds = time.perf_counter() - began
    expected = 0 if "--help" in mistake else REFUSED
    if done.returncode != expected:
        raise RuntimeError(f"{mistake} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("demo", type=Path, help="the output of a finished demo")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    asked = parser.parse_args()
    flags = command_of(asked.demo / "runs/A")
    print(f"{os.cpu_count()} cores, {asked.rounds} rounds")
    print(f"{'mistake':<24} seconds   (range)")
    for name, mistake in MISTAKES.items():
        taken = [seconds_of(flags, mistake) for _ in range(asked.rounds)]
        print(f"{name:<24} {median(taken):7.2f}   ({min(taken):.2f} - {max(taken):.2f})")


if __name__ == "__main__":
    main()
