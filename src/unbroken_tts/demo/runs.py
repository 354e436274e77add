"""Runs the three trainings on Amharic: A uninterrupted, B killed and resumed, C restarted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from unbroken import RunDirectory
from unbroken_tts.demo.killable_trainer import KILL
from unbroken_tts.demo.kills import Kill, kills_of, workers_of
from unbroken_tts.demo.material import Material
from unbroken_tts.demo.scale import ACCUMULATION, MICRO_BATCH, Scale
from unbroken_tts.demo.trainings import DemoTraining, amharic_training, naive_training
from unbroken_tts.demo.watch import watching
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.prepare.fitting import Stages
from unbroken_tts.train.load import load_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The finished trainings."""

    base: Path
    """The gpt.pth that all three started from."""
    undisturbed: Path
    """Directory of A."""
    killed: Path
    """Directory of B."""
    naive: Path
    """Directory of C."""
    naive_from: int
    """The step of B from whose weights C restarted."""
    kills: tuple[Kill, ...]
    """The kills of B, in order."""


def steps_per_epoch(material: Material) -> int:
    """Return the number of steps in an epoch of Amharic."""
    return -(-material.amharic.train_pairs // (MICRO_BATCH * ACCUMULATION))


def train_all(
    output: Path, material: Material, scale: Scale, base: Path, kill_seed: int, stages: Stages
) -> Runs:
    """Train A, B and C: A and then C on one core, B on the other.

    Args:
        output: Directory of the trainings.
        material: The data to train on.
        scale: The sizes of the demo.
        base: The base's gpt.pth.
        kill_seed: Seed for the moments of the kills.
        stages: Draws progress.

    Raises:
        TrainingFailed: A training ended unexpectedly.
    """
    kills = kills_of(kill_seed, scale, steps_per_epoch(material))
    a = amharic_training("A", output / "A", material, scale, base)
    b = amharic_training("B", output / "B", material, scale, base)
    handed_over = threading.Event()
    naive: list[_Naive] = []
    died: list[Kill] = []

    def first_core() -> None:
        a.finish("--num-workers", "none", "--resume", "auto")
        handed_over.wait()
        if naive:
            # Its schedule starts over too, so it would train for twice as long; this is enough.
            left = scale.steps - naive[0].step
            _kill(naive[0].training, f"step:{left}", "--num-workers", "none")

    def second_core() -> None:
        try:
            for kill in _die_and_go_on(b, kills):
                died.append(kill)
                if len(died) == len(kills) // 2 + 1:
                    naive.append(_weights_alone(b, output, material, scale, base))
                    handed_over.set()
        finally:
            handed_over.set()

    watched = {
        "A, undisturbed": (a.output, scale.steps),
        "B, killed and resumed": (b.output, scale.steps),
        "C, weights only": (output / "C", scale.steps - _last_save(kills, scale)),
    }
    with watching(watched, stages), ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(first_core), pool.submit(second_core)]:
            each.result()
    return Runs(
        base=base,
        undisturbed=a.output,
        killed=b.output,
        naive=naive[0].training.output,
        naive_from=naive[0].step,
        kills=tuple(died),
    )


def _last_save(kills: Sequence[Kill], scale: Scale) -> int:
    """Return the step of B's checkpoint that C most likely starts from."""
    return kills[len(kills) // 2].step // scale.save_every * scale.save_every


@dataclass(frozen=True, slots=True)
class _Naive:
    """C, and the step of B from whose weights it starts."""

    training: DemoTraining
    step: int


def _weights_alone(
    b: DemoTraining, output: Path, material: Material, scale: Scale, base: Path
) -> _Naive:
    """Start C from the weights of B's newest checkpoint, and nothing else."""
    weights = output / "C-weights.pth"
    loaded = load_weights(b.output)
    write_gpt_pth(weights, merge(loaded.model, loaded.untrained_encoders))
    return _Naive(naive_training(output / "C", material, scale, base, weights), loaded.step)


def _die_and_go_on(b: DemoTraining, kills: Sequence[Kill]) -> Iterator[Kill]:
    """Start, kill and restart B for each kill; then let it finish.

    Yields:
        Each kill, with the step that B had reached by its journal.
    """
    for number, kill in enumerate(kills):
        _kill(b, kill.moment, "--num-workers", workers_of(number), "--resume", "auto")
        *_, last = RunDirectory(b.output).lines()
        yield replace(kill, step=last["step"])
    b.finish("--num-workers", workers_of(len(kills)), "--resume", "auto")


def _kill(training: DemoTraining, moment: str, *flags: str) -> None:
    """Train until killed.

    Raises:
        TrainingFailed: It ended in another way.
    """
    status = training.start(*flags, moment=moment)
    if status not in {-KILL, KILL}:
        raise training.failed(f"should have been killed ({moment}) but ended with status {status}")
