"""What does the base's language lose while a new one is learnt, and what keeps it?

The base learns English from the demo's synthetic speech. Then Amharic is learnt from it in five ways,
each a real command line: without replay, with shares of English by `--mix`, with frozen base rows and
with trained ones. Printed are the losses of held-out speech in both languages before and after, and
`text_gap`; drawn is their course.

    python benchmarks/forgetting.py --output forgetting     # about ten minutes on two cores; DIR must be new
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from unbroken_tts.cli.stages import stage_lines
from unbroken_tts.demo.material import Material, make_material
from unbroken_tts.demo.scale import QUICK, Scale
from unbroken_tts.demo.trainings import base_training
from unbroken_tts.prepare.retokenize import retokenize

SCALE = replace(QUICK, name="forgetting", english=100, val_ratio=0.2, base_steps=300, steps=240)
POINTS = 4
"""Validations of each training after the first."""
LINE = re.compile(
    r"\[Val\] step=(\d+) (?:language=(\w+) )?.*?mel_loss=([\d.]+).*?val_loss=([\d.]+)"
)
GAP = re.compile(r"\[Val\] step=(\d+) .*?text_gap=(-?[\d.]+)")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to learn the new language."""

    name: str
    flags: tuple[str, ...] = ()
    has_replay: bool = False


WAYS = (
    Way("Amharic alone"),
    Way("Amharic alone, base rows trained too", ("--train-base-rows",)),
    Way("5 % English", ("--mix", "am=0.95,en=0.05"), has_replay=True),
    Way("15 % English", ("--mix", "am=0.85,en=0.15"), has_replay=True),
    Way("30 % English", ("--mix", "am=0.7,en=0.3"), has_replay=True),
)


@dataclass(frozen=True, slots=True)
class Course:
    """What a training's validations said: step -> weighted loss of each language, and the gap."""

    english: dict[int, float]
    amharic: dict[int, float]
    gap: dict[int, float]


def main() -> None:
    """Train, print the table, draw the courses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("forgetting"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=SCALE.steps, metavar="N")
    arguments = parser.parse_args()
    scale = replace(SCALE, steps=arguments.steps)
    output: Path = arguments.output
    with stage_lines() as stages:
        material = make_material(output, scale, stages)
    english = output / "english"
    if not english.exists():
        retokenize(material.english.output, material.amharic.tokenizer, english)
    base = base_training(output / "base", material, scale)
    base.finish("--resume", "auto")
    courses = {way.name: _learnt(way, output, material, english, scale) for way in WAYS}
    _print(courses, scale)
    _draw(courses, output / "forgetting.png")
    print(f"Drawn: {output / 'forgetting.png'}")


def _learnt(way: Way, output: Path, material: Material, english: Path, scale: Scale) -> Course:
    """Train in one way."""
    amharic = material.amharic.output
    manifests = [("--train-manifest", amharic / "train_pairs.jsonl")]
    if way.has_replay:
        manifests.append(("--train-manifest", english / "train_pairs.jsonl"))
    manifests += [("--val-manifest", each / "val_pairs.jsonl") for each in (amharic, english)]
    place = output / way.name.replace(" ", "-").replace(",", "").replace("%", "percent")
    flags = [
        *(str(word) for pair in manifests for word in pair),
        *("--tokenizer", str(material.amharic.tokenizer), "--config", str(material.config)),
        *("--init-from", str(output / "base")),
        *("--output-dir", str(place), "--max-steps", str(scale.steps), "--save-interval", "0"),
        *("--batch-size", "16", "--grad-accumulation", "1", "--device", "cpu"),
        *("--learning-rate", str(scale.learning_rate / 2), "--warmup-steps", str(scale.warmup)),
        *("--val-interval", str(scale.steps // POINTS), "--max-val-batches", "0", *way.flags),
    ]
    command = [sys.executable, "-m", "unbroken_tts.cli.main", "train", *flags]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        sys.exit(f"{way.name}: {told.stdout[-2000:]}{told.stderr}")
    print(f"{way.name}: trained", file=sys.stderr)
    return _course(told.stdout)


def _course(text: str) -> Course:
    losses: dict[str, dict[int, float]] = {"en": {}, "am": {}}
    for step, language, _mel, loss in LINE.findall(text):
        if language in losses:
            losses[language][int(step)] = float(loss)
    gap = {int(step): float(value) for step, value in GAP.findall(text)}
    return Course(losses["en"], losses["am"], gap)


def _print(courses: dict[str, Course], scale: Scale) -> None:
    print(f"val_loss before and after {scale.steps} updates; English is the base's language")
    print(f"{'':38}{'English':>18}{'':9}{'Amharic':>18}{'text_gap':>12}")
    for name, course in courses.items():
        first, last = min(course.english), max(course.english)
        change = 100 * (course.english[last] / course.english[first] - 1)
        print(
            f"{name:38}{course.english[first]:8.3f} -> {course.english[last]:6.3f}{change:+7.1f} %"
            f"{course.amharic[first]:8.3f} -> {course.amharic[last]:6.3f}{course.gap[last]:12.3f}"
        )


def _draw(courses: dict[str, Course], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    english, amharic = figure.subplots(1, 2)
    for name, course in courses.items():
        english.plot(list(course.english), list(course.english.values()), marker="o", label=name)
        amharic.plot(list(course.amharic), list(course.amharic.values()), marker="o", label=name)
    for axes, title in ((english, "English, the base's language"), (amharic, "Amharic, learnt")):
        axes.set_title(title)
        axes.set_xlabel("updates")
        axes.set_ylabel("val_loss")
        axes.grid(alpha=0.25)
    english.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
