"""Runs the demo from beginning to end.

1. Material: speech by espeak-ng, one codec, prepared English and Amharic, an extended tokenizer.
2. The base: trained on English from random weights, exported as a gpt.pth; kept for the next demo.
3. Training: A without interruption, B killed and resumed, C restarted from the weights alone.
4. Speech: A and B speak the same sentences, which are compared with recordings.
5. The proof, the plot, the page.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from unbroken import SettingsInvalid
from unbroken_tts.demo.curves import draw
from unbroken_tts.demo.material import Material, make_material
from unbroken_tts.demo.page import write_page
from unbroken_tts.demo.proof import prove
from unbroken_tts.demo.runs import Runs, train_all
from unbroken_tts.demo.scale import Scale
from unbroken_tts.demo.speech import (
    exchanged,
    judge,
    open_trained,
    say,
    say_into,
    sentences_of,
)
from unbroken_tts.demo.story import Story
from unbroken_tts.demo.trainings import base_training
from unbroken_tts.demo.watch import watching
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.model.base import read_base
from unbroken_tts.prepare.audio import read_audio
from unbroken_tts.prepare.fitting import Stages, silent_stages
from unbroken_tts.prepare.mel import SAMPLE_RATE
from unbroken_tts.prepare.written import write_whole
from unbroken_tts.train.load import load_weights

MARKER = "demo.json"
"""The file that marks the directory of a demo."""
PAGE = "demo.html"
"""The page, in the demo's directory."""
PICTURE = "loss.png"
"""The plot, in the demo's directory."""
_OURS = ("runs", "audio", PAGE, PICTURE)


def show(output: Path, scale: Scale, *, kill_seed: int, stages: Stages = silent_stages) -> Story:
    """Run the demo; write page, plot, audio and runs to `output`.

    Corpus, prepared data and base of an earlier demo there are reused; its runs are replaced.

    Args:
        output: A new directory, or one of an earlier demo.
        scale: The sizes of the demo.
        kill_seed: Seed for the moments of the kills.
        stages: Draws progress.

    Raises:
        SettingsInvalid: The directory contains something else, or a package is missing.
        TrainingFailed: A training ended unexpectedly.
    """
    _claim(output)
    material = make_material(output, scale, stages)
    base = _base(material, scale, stages)
    runs = train_all(output / "runs", material, scale, base, kill_seed, stages)
    story = _spoken(output / "audio", material, scale, runs, kill_seed, stages)
    picture = draw(runs)
    write_whole(output / PICTURE, picture)
    write_page(output / PAGE, story, picture)
    return story


def _claim(output: Path) -> None:
    """Mark the directory as the demo's, and delete the results of an earlier demo.

    Raises:
        SettingsInvalid: It contains something that no demo made.
    """
    marker = output / MARKER
    is_foreign = output.exists() and (not output.is_dir() or any(output.iterdir()))
    if is_foreign and not marker.is_file():
        raise SettingsInvalid(
            f"{output} exists and is not the directory of a demo.",
            "The demo replaces files, so it only writes to a directory of its own.",
            "Name another directory with --output.",
        )
    output.mkdir(parents=True, exist_ok=True)
    write_whole(marker, (json.dumps({"demo": 1}) + "\n").encode())
    for name in _OURS:
        path = output / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _base(material: Material, scale: Scale, stages: Stages) -> Path:
    """Train and export the base, unless an earlier demo made it from the same material."""
    place = material.directory / "base" / "gpt.pth"
    if place.is_file():
        return place
    training = base_training(material.directory / "base" / "run", material, scale)
    if training.output.exists():
        shutil.rmtree(training.output)
    with watching({"Base, on English": (training.output, scale.base_steps)}, stages):
        training.finish("--num-workers", "none")
    loaded = load_weights(training.output)
    write_gpt_pth(place, merge(loaded.model, loaded.untrained_encoders))
    shutil.rmtree(training.output)
    return place


def _spoken(
    directory: Path, material: Material, scale: Scale, runs: Runs, kill_seed: int, stages: Stages
) -> Story:
    sentences = sentences_of(material, scale)
    voices = {
        name: open_trained(run, material)
        for name, run in (("A", runs.undisturbed), ("B", runs.killed))
    }
    speech = {
        name: say_into(directory / name, voice, sentences, stages(f"{name} speaks"))
        for name, voice in voices.items()
    }
    trained = [each for each in sentences if each.is_trained]
    unseen = sentences[len(trained) :]
    waves = [read_audio(each.file, SAMPLE_RATE) for each in speech["A"]]
    others = say(
        voices["A"],
        trained,
        exchanged([each.text for each in trained]),
        stages("A, texts exchanged"),
    )
    count = scale.candidates
    return Story(
        scale=scale,
        kill_seed=kill_seed,
        base_rows=read_base(runs.base).vocabulary,
        runs=runs,
        speech={**speech},
        rows=prove(runs, scale.steps, speech),
        trained=judge(waves[: len(trained)], trained, material, count),
        control=judge([each.wave for each in others], trained, material, count),
        unseen=judge(waves[len(trained) :], unseen, material, count) if unseen else None,
    )
