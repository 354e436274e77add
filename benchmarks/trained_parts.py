"""Memory and time of training all layers, LoRA adapters, and chosen layers, side by side in one run.

Each way trains the same samples in a process of its own, rounds in turns. Shown are the memory that
the process grew by at its peak (of a card: the most that was allocated on it), the seconds of a step
(of a processor those that it computed, so that other programs don't count), and both as shares of those
of training all layers.

    python benchmarks/trained_parts.py                 # some minutes
    python benchmarks/trained_parts.py --quick         # two ways, a tiny model; only shows that it runs
    python benchmarks/trained_parts.py --device cuda   # the real model: 24 layers, 1280 wide, bf16
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from workload import Workload

if TYPE_CHECKING:
    from gpu_training import How

    from unbroken_tts.model.trained_part import TrainedPart

RANK = 16
PROCESSOR = {"layers": 6, "width": 384, "heads": 6, "vocabulary": 12_000, "codes": 8_192,
             "batch": 4, "steps": 3, "shrink": 2, "precision": "fp32"}  # fmt: skip
QUICK = PROCESSOR | {"layers": 2, "width": 64, "heads": 2, "vocabulary": 300, "codes": 300,
                     "batch": 2, "steps": 1, "shrink": 8}  # fmt: skip
CARD = {"layers": 24, "width": 1280, "heads": 20, "vocabulary": 12_000, "codes": 8_192, "batch": 8,
        "steps": 4, "shrink": 1, "precision": "bf16"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is trained, and how."""

    name: str
    layers: str
    """A choice of layers, as typed."""
    rank: int = 0
    checkpointing: bool = False

    def part(self, blocks: int) -> TrainedPart:
        """Return what is trained of a model of so many blocks."""
        from unbroken_tts.model.trained_part import Lora, TrainedPart, chosen_groups

        lora = Lora(rank=self.rank, alpha=2 * self.rank, dropout=0, targets="all")
        return TrainedPart(
            groups=chosen_groups(self.layers, blocks),
            blocks=blocks,
            lora=lora if self.rank else None,
        )


def ways(layers: int, *, are_all: bool) -> tuple[Way, ...]:
    """Return the ways to compare, training all layers first; the first two or all of them."""
    few = max(1, layers // 6)
    found = (
        Way(name="all layers", layers="all"),
        Way(name=f"LoRA, rank {RANK}", layers="none", rank=RANK),
        Way(name=f"LoRA, rank {RANK}, and the text tables", layers="text", rank=RANK),
        Way(name=f"--train-layers last:{few}", layers=f"last:{few}"),
        Way(name="--train-layers heads", layers="heads"),
        Way(name="all layers, --grad-checkpointing", layers="all", checkpointing=True),
        Way(name=f"LoRA, rank {RANK}, --grad-checkpointing", layers="none", rank=RANK,
            checkpointing=True),
    )  # fmt: skip
    return found if are_all else found[:2]


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one way came to."""

    trained: int = 0
    """Trained numbers."""
    gib: float = 0.0
    """Peak of the memory while training."""
    saved: int = 0
    """Bytes of a checkpoint."""
    seconds: list[float] = field(default_factory=list)
    """Of a step, by round."""


class Child:
    """A process that trains one way; a context manager."""

    def __init__(self, way: Way, work: Workload, device: str, directory: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        words = (way, work, device, directory, theirs)
        self._process = context.Process(target=_serve, args=words, daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(30)
        self._process.kill()

    def told(self) -> Any:
        """Return what it tells next."""
        return self._pipe.recv()

    def ask(self, what: str) -> Any:
        """Have a round trained, or a checkpoint saved; return the seconds of a step, or bytes."""
        self._pipe.send(what)
        return self._pipe.recv()


def _serve(way: Way, work: Workload, device: str, directory: Path, pipe: Connection) -> None:
    import torch
    from gpu_device import fresh_peak, is_cuda, peak_gib
    from gpu_training import How
    from resident_memory import Growth

    torch.set_num_threads(work.threads)
    logging.getLogger("unbroken").setLevel(logging.ERROR)  # the loop ends before its training does
    _import_all()  # code is no part of the growth
    fresh_peak(device)
    part = way.part(work.layers)
    how = How(device=device, precision=work.precision, part=part, checkpointing=way.checkpointing)
    with Growth() as growth:
        training = _Training(work, directory, how)
        training.steps(work.steps)  # memory is touched, caches are warm, Adam has its state
    gib = peak_gib(device) if is_cuda(device) else growth.bytes / 2**30
    pipe.send((training.trained, gib))
    while True:
        try:
            what = pipe.recv()
        except EOFError:
            return
        pipe.send(training.save() if what == "save" else training.steps(work.steps))


def _import_all() -> None:
    import gpu_training  # noqa: F401
    import peft  # noqa: F401
    import transformers.models.gpt2.modeling_gpt2  # noqa: F401


class _Training:
    """A training that is timed."""

    def __init__(self, work: Workload, directory: Path, how: How) -> None:
        from gpu_training import ENDLESS, DeviceTraining

        self._device = how.device
        self._training = DeviceTraining(work, directory, how)
        self._training.run.resume("")
        self._steps = self._training.steps(ENDLESS)

    @property
    def trained(self) -> int:
        """Trained numbers."""
        parameters = self._training.built.model.parameters()
        return sum(each.numel() for each in parameters if each.requires_grad)

    def steps(self, count: int) -> float:
        """Train some steps; return the seconds of one: of a processor those that it computed."""
        from gpu_device import is_cuda, synchronize

        clock = time.perf_counter if is_cuda(self._device) else time.process_time
        began = clock()
        for _ in range(count):
            next(self._steps)
        synchronize(self._device)
        return (clock() - began) / count

    def save(self) -> int:
        """Save a checkpoint; return its bytes."""
        from workload import directory_size

        return directory_size(self._training.run.save())


def measure(
    work: Workload, device: str, rounds: int, directory: Path, chosen: tuple[Way, ...]
) -> dict[str, Measured]:
    """Begin the ways one after another, then train them in turns, then let each save."""
    found: dict[str, Measured] = {}
    with ExitStack() as stack:
        children = {}
        for number, way in enumerate(chosen):
            child = Child(way, work, device, directory / str(number))
            children[way.name] = stack.enter_context(child)
            trained, gib = child.told()
            found[way.name] = Measured(trained=trained, gib=gib)
        for turn in range(rounds):
            for name in [*children][:: -1 if turn % 2 else 1]:
                found[name].seconds.append(children[name].ask("train"))
        for name, child in children.items():
            found[name].saved = child.ask("save")
    return found


def table(found: dict[str, Measured]) -> list[str]:
    """Return the lines of the table; the first way is what others are compared with."""
    first = next(iter(found.values()))
    heads = ("trained", "numbers", "peak GiB", "of all layers'", "seconds a step", "of all layers'",
             "checkpoint MB")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name, each in found.items():
        ratios = [mine / theirs for mine, theirs in zip(each.seconds, first.seconds, strict=True)]
        seconds = statistics.median(each.seconds)
        lines.append(
            f"| {name} | {each.trained / 1e6:.2f} M | {each.gib:.2f} | "
            f"{each.gib / first.gib:.0%} | {seconds:.3f} | {statistics.median(ratios):.0%} | "
            f"{each.saved / 1e6:.0f} |"
        )
    return lines


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu", help="cpu or cuda [cpu]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--threads", type=int, default=1, help="[1]")
    parser.add_argument("--batch", type=int, help="samples of a step, one micro-batch")
    parser.add_argument("--quick", action="store_true", help="a tiny model, one round")
    parser.add_argument("--json", type=Path, help="also write every round here")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print."""
    asked = parse()
    from gpu_device import device_facts

    sizes: dict[str, Any] = dict(CARD if asked.device.startswith("cuda") else PROCESSOR)
    if asked.quick:
        sizes, asked.rounds = dict(QUICK), 1
    sizes["batch"] = asked.batch or sizes["batch"]
    work = Workload(**sizes, dropout=0.1, threads=asked.threads)
    facts = device_facts(asked.device)
    print(
        f"{facts['device']}, torch {facts['torch']}, {work.precision}: {work.layers} layers, "
        f"{work.width} wide, {work.batch} samples a step",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        chosen = ways(work.layers, are_all=not asked.quick)
        found = measure(work, asked.device, asked.rounds, Path(temporary), chosen)
    print("\n".join(table(found)))
    if asked.json:
        report = {name: {slot: getattr(each, slot) for slot in each.__slots__}
                  for name, each in found.items()}  # fmt: skip
        asked.json.write_text(json.dumps(facts | report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
