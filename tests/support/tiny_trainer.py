"""A tiny training through the real command: its files, its command line, and what it left behind."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from support import preloaded
from support.pairs import write_pairs, write_tokenizer
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.store import Store
from unbroken.journal.journal import last_line_of_each_step
from unbroken.run.resume import run_id_of
from unbroken.run.run import Run
from unbroken_tts.cli.main import main as program
from unbroken_tts.model.config import GptConfig

TESTS = Path(__file__).parent.parent
SOURCE = TESTS.parent / "src"
MODULE = {
    "output_size": 4,
    "linear_units": 16,
    "attention_heads": 1,
    "num_blocks": 1,
    "input_layer": "conv2d2",
    "perceiver_mult": 0.2,
}
STEPS = 22
"""Steps of a whole training: 44 samples by 8 are six steps an epoch, so not quite four epochs."""


@dataclass(frozen=True)
class Ended:
    """How a training in this process ended."""

    code: int
    out: str
    err: str

    def lines(self, start: str) -> list[str]:
        """Return the lines of stdout that begin like this."""
        return [line for line in self.out.splitlines() if line.startswith(start)]


def run_program(*words: object) -> Ended:
    """Run `unbroken-tts` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = program([str(word) for word in words])
    return Ended(code, out.getvalue(), err.getvalue())


@contextmanager
def asked_to_stop(step: int, samples: int = 0, by: str = "SIGTERM") -> Iterator[None]:
    """Send this process a signal when a training in it comes to a position."""
    original = Run.seed_micro_batch

    def seed_micro_batch(run: Run) -> None:
        if (run.position.step, run.position.samples) == (step, samples) and not run.stop.is_made:
            os.kill(os.getpid(), getattr(signal, by))
        original(run)

    with patch.object(Run, "seed_micro_batch", seed_micro_batch):
        yield


@dataclass(frozen=True)
class TinyTrainer:
    """The files of a tiny training."""

    root: Path

    def flags(self, output: Path, *more: str) -> list[str]:
        """Return the flags of the training."""
        named = {
            "--train-manifest": self.root / "data/train_pairs.jsonl",
            "--val-manifest": self.root / "data/val_pairs.jsonl",
            "--tokenizer": self.root / "tok.model",
            "--config": self.root / "config.yaml",
            "--output-dir": output,
            "--base-checkpoint": "none",
            "--batch-size": 3,
            "--grad-accumulation": 3,
            "--max-steps": STEPS,
            "--log-interval": 4,
            "--val-interval": 5,
            "--val-batch-size": 5,
            "--save-interval": 4,
            "--warmup-steps": 3,
            "--learning-rate": "3e-3",
            "--num-workers": "none",
            "--threads": 1,
        }
        given = {word for word in more if word.startswith("--")}
        kept = [str(w) for pair in named.items() if pair[0] not in given for w in pair]
        return [*kept, *more]

    def start(self, output: Path, *more: object, resume: str = "auto") -> Ended:
        """Train in this process."""
        how = ["--resume", resume] if resume else []
        return run_program("train", *self.flags(output, *how, *(str(each) for each in more)))

    def stop(self, output: Path, *more: object, at: int, samples: int = 0) -> None:
        """Train in this process until a stop inside or before a step."""
        with asked_to_stop(at, samples):
            ended = self.start(output, *more)
        assert ended.code == 75, ended.err

    def run(
        self,
        output: Path,
        *more: str,
        event: str = "none",
        resume: str = "auto",
        is_preloaded: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Train in a process of its own, killed at `event`; a new interpreter takes seconds longer."""
        how = ["--resume", resume] if resume else []
        words = [event, "--", *self.flags(output, *how, *more)]
        if is_preloaded:
            return preloaded.run("support.killed_trainer", words, environment())
        return subprocess.run(
            [sys.executable, str(TESTS / "support/killed_trainer.py"), *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
            timeout=preloaded.SECONDS,
            start_new_session=True,  # its process group is its own
        )


def environment() -> dict[str, str]:
    """Return the environment of a trainer in a process of its own."""
    return {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{TESTS}"}


def write_tiny_trainer(root: Path) -> TinyTrainer:
    """Write data, tokenizer and configuration."""
    write_tokenizer(root / "tok.model", 40)
    write_pairs(root / "data", 44, split="train")
    write_pairs(root / "data", 12, split="val", seed=1)
    config: dict[str, Any] = {
        "model_dim": 16,
        "layers": 2,
        "heads": 2,
        "max_mel_tokens": 60,
        "max_text_tokens": 30,
        "number_text_tokens": 40,
        "number_mel_codes": 34,
        "start_mel_token": 32,
        "stop_mel_token": 33,
        "start_text_token": 0,
        "stop_text_token": 1,
        "condition_module": MODULE,
        # Its perceiver is 1024 wide in any model: as little as can be keeps the files small.
        "emo_condition_module": MODULE | {"perceiver_mult": 0.01},
    }
    GptConfig.from_mapping(config, origin="a test").to_yaml(root / "config.yaml")
    return TinyTrainer(root)


def newest(output: Path) -> Checkpoint:
    """Return the newest whole checkpoint of the run in a directory."""
    layout = Layout(output)
    run_id = run_id_of(layout)
    assert run_id is not None
    checkpoint = Store(layout, run_id).newest_whole().checkpoint
    assert checkpoint is not None
    return checkpoint


def leaf_digests(output: Path) -> dict[str, str]:
    """Return the digest of every saved tensor of the newest checkpoint."""
    return {leaf: entry.digest for leaf, entry in newest(output).manifest.leaves.items()}


def journal(output: Path) -> dict[int, dict[str, Any]]:
    """Return the line that counts of every step, without the number of the start."""
    lines = last_line_of_each_step(Layout(output).journal)
    return {
        step: {name: each for name, each in line.items() if name != "start"}
        for step, line in lines.items()
    }


def require_equal(whole: Path, other: Path) -> None:
    """Compare every journal line, every saved tensor and the best score, to the last bit."""
    assert journal(whole) == journal(other)
    assert leaf_digests(whole) == leaf_digests(other)
    assert newest(whole).part("best") == newest(other).part("best")
    assert newest(whole).part("scheduler") == newest(other).part("scheduler")


def contents(directory: Path, *, but: tuple[str, ...] = ("preflight.cache",)) -> dict[str, str]:
    """Return the digest of every file below a directory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in but
    }
