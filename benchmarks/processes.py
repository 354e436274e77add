"""What it costs that any number of processes computes the same bits: steps with virtual devices and without.

    python benchmarks/processes.py                      # 1 and 2 processes, about a minute
    python benchmarks/processes.py --counts 1 2 4

In each process two runs train the same model alternately, a step each. One divides its steps as it is fastest,
the other into eight virtual devices; both are cut into micro-batches of eight samples.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from statistics import median

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

import unbroken

WIDTH, LAYERS, SAMPLES, MICRO_BATCH, WARM_UP = 1024, 6, 64, 8, 3
WAYS = {"fastest": 0, "virtual devices": SAMPLES // MICRO_BATCH}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    print("| processes | fastest, ms a step | with 8 virtual devices | ratio |")
    print("| --- | --- | --- | --- |")
    for count in given.counts:
        with tempfile.TemporaryDirectory() as directory:
            spawn(trained, (count, directory, given.steps), nprocs=count)
            fastest, fixed = (
                float((Path(directory) / name).read_text(encoding="utf-8")) for name in WAYS
            )
        print(f"| {count} | {fastest:.1f} | {fixed:.1f} | {fixed / fastest:.2f} |", flush=True)


def trained(rank: int, count: int, directory: str, steps: int) -> None:
    """Train both runs as one process; the first process writes down the medians."""
    torch.set_num_threads(1)
    logging.getLogger("unbroken").setLevel(logging.ERROR)  # its loops are left
    meeting = f"file://{directory}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    loops = {
        name: loop(Path(directory) / f"run {name}", each, steps) for name, each in WAYS.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(steps):
        for name, each in loops.items():
            began = time.perf_counter()
            next(each)
            taken[name].append(time.perf_counter() - began)
    for name, seconds in taken.items():
        if rank == 0:
            text = str(1000 * median(seconds[WARM_UP:]))
            (Path(directory) / name).write_text(text, encoding="utf-8")
    distributed.barrier()
    distributed.destroy_process_group()


def loop(directory: Path, virtual_devices: int, steps: int) -> Generator[None]:
    """Train a run; yield after each step."""
    torch.manual_seed(1)
    layers = [each for _ in range(LAYERS) for each in (nn.Linear(WIDTH, WIDTH), nn.GELU())]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    inputs = torch.randn(SAMPLES, WIDTH)
    order = unbroken.StepBatches(
        [str(number) for number in range(SAMPLES)],
        None,
        SAMPLES,
        seed=1,
        virtual_devices=virtual_devices,
    )
    run = unbroken.Run(directory, order=order, model=model, optimizer=optimizer, save_every=0)
    run.resume()
    for step in run.steps(steps + 1):
        for part in step.micro_batches(MICRO_BATCH):
            step.backward(model(inputs[list(part.indices)]).square().sum() / SAMPLES)
        step.update()
        yield


if __name__ == "__main__":
    main()
