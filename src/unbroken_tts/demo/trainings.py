"""The trainings of a demo; each is a real command line in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from unbroken import UnbrokenError
from unbroken_tts.demo.material import Material
from unbroken_tts.demo.scale import ACCUMULATION, MICRO_BATCH, NAIVE_SEED, SEED, Scale
from unbroken_tts.prepare.summary import Summary

SOURCE = Path(__file__).parents[2]
THREADS = 1
"""Threads of each training; two trainings run in parallel on two cores."""


class TrainingFailed(UnbrokenError):
    """A training of the demo ended unexpectedly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTraining:
    """One training of the demo, as a command line without its `--resume`."""

    name: str
    """Its name: base, A, B or C."""
    output: Path
    """Its `--output-dir`."""
    flags: tuple[str, ...]
    """The flags of `unbroken-tts train`."""

    def start(self, *more: str, moment: str = "never") -> int:
        """Run the trainer in a child process until it ends; return its exit status.

        Args:
            more: Further flags.
            moment: When it is killed, see `unbroken_tts.demo.killable_trainer`.
        """
        module = "unbroken_tts.demo.killable_trainer"
        command = [sys.executable, "-m", module, moment, "--", *self.flags, *more]
        search_path = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.output.parent.mkdir(parents=True, exist_ok=True)
        # A file, not a pipe: a killed trainer's orphaned workers would hold a pipe open.
        with self.log.open("ab") as log:
            log.write(f"\n$ unbroken-tts train {' '.join([*self.flags, *more])}\n".encode())
            log.flush()
            return subprocess.run(  # noqa: S603 -- our own module under our own interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                env=os.environ
                | {
                    "PYTHONPATH": os.pathsep.join(search_path),
                    "PYTHONIOENCODING": "utf-8",
                    "OMP_NUM_THREADS": str(THREADS),
                },
            ).returncode

    @property
    def log(self) -> Path:
        """The file with the output of all its starts."""
        return self.output.with_name(f"{self.output.name}.log")

    def finish(self, *more: str) -> None:
        """Train to the end.

        Raises:
            TrainingFailed: It ended with an error.
        """
        status = self.start(*more)
        if status != 0:
            raise self.failed(f"ended with status {status}")

    def failed(self, what: str) -> TrainingFailed:
        """Return an error with what happened and the end of the log."""
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        return TrainingFailed(
            f"Training {self.name} {what}. Its last lines:\n  " + "\n  ".join(tail),
            "Without it there is nothing to compare.",
            f"Read {self.log}; if the cause is not on your machine, please report a bug.",
        )


def base_training(output: Path, material: Material, scale: Scale) -> DemoTraining:
    """Return the training of the base: on English, from random weights."""
    return DemoTraining(
        name="base",
        output=output,
        flags=(
            *_flags(output, material, material.english, scale, scale.base_steps),
            *("--seed", str(SEED), "--base-checkpoint", "none", "--save-interval", "0"),
        ),
    )


def amharic_training(
    name: str, output: Path, material: Material, scale: Scale, base: Path
) -> DemoTraining:
    """Return the fine-tuning of A or B; the two differ only in name and directory."""
    return DemoTraining(
        name=name,
        output=output,
        flags=(
            *_flags(output, material, material.amharic, scale, scale.steps),
            *("--seed", str(SEED), "--base-checkpoint", str(base)),
            *("--base-tokenizer", str(material.english.tokenizer)),
            *("--save-interval", str(scale.save_every)),
        ),
    )


def naive_training(
    output: Path, material: Material, scale: Scale, base: Path, weights: Path
) -> DemoTraining:
    """Return C: a restart from weights alone, with new optimiser, schedule and order."""
    return DemoTraining(
        name="C",
        output=output,
        flags=(
            *_flags(output, material, material.amharic, scale, scale.steps),
            *("--seed", str(NAIVE_SEED), "--base-checkpoint", str(base)),
            *("--init-from", str(weights), "--save-interval", "0"),
            *("--base-tokenizer", str(material.amharic.tokenizer)),
        ),
    )


def _flags(
    output: Path, material: Material, data: Summary, scale: Scale, steps: int
) -> tuple[str, ...]:
    named: dict[str, object] = {
        "--train-manifest": data.output / "train_pairs.jsonl",
        "--val-manifest": data.output / "val_pairs.jsonl",
        "--tokenizer": data.tokenizer,
        "--config": material.config,
        "--codec": material.codec,
        "--output-dir": output,
        "--max-steps": steps,
        "--batch-size": MICRO_BATCH,
        "--grad-accumulation": ACCUMULATION,
        "--learning-rate": scale.learning_rate,
        "--warmup-steps": min(scale.warmup, max(1, steps // 4)),
        "--dropout": scale.dropout,
        "--keep-checkpoints": 2,
        "--log-interval": 10,
        "--val-interval": steps,
        "--max-val-batches": 2,
        "--device": "cpu",
        "--precision": "fp32",
        "--threads": THREADS,
    }
    return tuple(str(word) for pair in named.items() for word in pair)
