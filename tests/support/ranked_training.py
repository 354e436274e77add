"""A training by several processes in DistributedDataParallel, as people write it, and starts of it.

    ranked_training.main RANK COUNT DIRECTORY MEETING [OPTION=VALUE ...]

`DIRECTORY` is the run's; the ranks meet through the file `MEETING`. An option of the form `NAME=RANK@N`
acts on one rank, in its batch N of this start (`bare=1` gives the run the model without its wrapper): `die` (SIGKILL), `stop` (SIGTERM), `raise`, `drift` (moves a
weight), `leave` (makes no update), `break` (leaves the epoch). `fail=RANK@N` has the N-th save fail there, once. `epochs=N`, `rate=RANK@VALUE` and `directory=RANK@NAME` change the
arguments. With `steps=N` the run divides the samples itself, without a wrapper: N steps of `BATCH` samples, in
micro-batches of `size=RANK@N`, or 3, or of `virtual=N` virtual devices, with dropout of `dropout=P`; `seed=RANK@N` begins with other weights.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import unbroken
from support import preloaded
from unbroken.journal.record import RunRecord

SAMPLES: Final = 72
BATCH: Final = 12
"""Samples of a step, over all ranks."""
EPOCHS: Final = 2


def ranks(count: int, place: Path, *options: str) -> list[CompletedProcess[str]]:
    """Start the ranks of a training, and wait until all of them have ended; return them by rank."""
    with tempfile.TemporaryDirectory() as meeting, ThreadPoolExecutor(count) as threads:
        every = [
            [str(rank), str(count), str(place), str(Path(meeting) / "meeting"), *options]
            for rank in range(count)
        ]
        return list(threads.map(partial(preloaded.run, "support.ranked_training"), every))


def ended(every: list[CompletedProcess[str]]) -> list[str]:
    """Return what each rank ended with: a digest of weights, buffers, moments and rates."""
    for each in every:
        assert each.returncode == 0, each.stderr
    return [each.stdout.split()[-1] for each in every]


def main() -> None:
    """Train as one rank."""
    rank, count, place, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    options = dict(each.split("=") for each in sys.argv[5:])
    torch.set_num_threads(1)
    if count > 1 or "steps" not in options:
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=count
        )
    (train_steps if "steps" in options else train)(place, rank, count, options)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def of_rank(options: dict[str, str], name: str, rank: int) -> str | None:
    """Return the value of an option that one rank was given; None where it is another's."""
    whose, _, value = options.get(name, "").partition("@")
    return value if whose == str(rank) else None


def train(place: str, rank: int, count: int, options: dict[str, str]) -> None:
    """Train, resume, and print what it ends with."""
    torch.manual_seed(5)
    drawn = torch.Generator().manual_seed(1)
    data = TensorDataset(
        torch.randn(SAMPLES, 8, generator=drawn), torch.randn(SAMPLES, 1, generator=drawn)
    )
    sampler: DistributedSampler[Any] = DistributedSampler(data, shuffle=True, seed=3)
    loader = DataLoader(data, batch_size=BATCH // count, sampler=sampler)
    model = nn.Sequential(
        nn.Linear(8, 64), nn.BatchNorm1d(64), nn.GELU(), nn.Dropout(0.1),
        nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 1),
    )  # fmt: skip
    torch.manual_seed(5 + rank)  # another dropout on each
    replica = DistributedDataParallel(model, bucket_cap_mb=0.01)
    rate = float(of_rank(options, "rate", rank) or 1e-2)
    optimizer = torch.optim.AdamW(replica.parameters(), lr=rate)
    epochs = int(options.get("epochs", EPOCHS))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    if of_rank(options, "fail", rank):
        fail_once(int(options["fail"].partition("@")[2]))
    root = Path(place) / (of_rank(options, "directory", rank) or "")
    run = unbroken.Run(
        root,
        data=loader,
        model=model if "bare" in options else replica,
        optimizer=optimizer,
        scheduler=scheduler,
        save_every=3,
    )
    done = 0
    for epoch in run.epochs(epochs):
        sampler.set_epoch(epoch)
        for x, y in run.batches():
            done += 1
            loss = (replica(x) - y).square().mean()
            loss.backward()
            if of_rank(options, "leave", rank) != str(done):
                optimizer.step()
            act(options, rank, done, model)
            if of_rank(options, "break", rank) == str(done):
                break
            optimizer.zero_grad()
            run.log(loss=loss)
        scheduler.step()
    sys.stdout.write(f"{digest(model, optimizer)}\n")


def train_steps(place: str, rank: int, count: int, options: dict[str, str]) -> None:
    """Train steps that the run divides among the processes; print what it ends with, and the verdict."""
    del count
    drawn = torch.Generator().manual_seed(1)
    x, y = torch.randn(SAMPLES, 8, generator=drawn), torch.randn(SAMPLES, 1, generator=drawn)
    torch.manual_seed(int(of_rank(options, "seed", rank) or 5))
    dropout = nn.Dropout(float(options.get("dropout", 0)))
    norm = nn.BatchNorm1d(64) if "norm" in options else nn.Identity()
    model = nn.Sequential(nn.Linear(8, 64), norm, nn.GELU(), dropout, nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=float(of_rank(options, "rate", rank) or 1e-2)
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    names = [f"sample-{number}" for number in range(SAMPLES)]
    order = unbroken.StepBatches(
        names,
        lengths=None,
        effective_batch=BATCH,
        seed=3,
        virtual_devices=int(options.get("virtual", 0)),
    )
    run = unbroken.Run(
        place, order=order, model=model, optimizer=optimizer, scheduler=scheduler, save_every=3
    )
    run.resume()
    size = int(of_rank(options, "size", rank) or 3)
    for step in run.steps(int(options["steps"])):
        for micro in step.micro_batches(size):
            part = list(micro.indices)
            if step.samples_done == BATCH // 4:
                act({"stop": options.get("inside", "")}, rank, step.number, model)
            step.backward((model(x[part]) - y[part]).square().sum() / len(step.indices))
        if "again" in options:
            assert not list(step.micro_batches(2)), "what is done is not to be done again"
            assert not step.micro_batches_left(2)
        result = step.update(clip_norm=1.0)
        act(options, rank, result.step, model)
        if result.step % 3 == 0:
            run.save()  # on the disk before the next step may be the last
    run.close()
    verdict = run.monitor.verdict
    sys.stdout.write(f"{verdict.outcome if verdict else None} {digest(model, optimizer)}\n")


def fail_once(number: int) -> None:
    """Have the disk refuse the so-many-th flush of the journal before a commit, once."""
    flush, calls = RunRecord.sync, iter(range(10**6))

    def sync(record: RunRecord) -> None:
        if next(calls) + 1 == number:
            raise OSError("told to")
        flush(record)

    setattr(RunRecord, "sync", sync)  # noqa: B010  # in a process of its own


def act(options: dict[str, str], rank: int, done: int, model: nn.Module) -> None:
    """Do what one rank was told to do in this batch."""
    if of_rank(options, "die", rank) == str(done):
        os.kill(os.getpid(), signal.SIGKILL)
    if of_rank(options, "stop", rank) == str(done):
        os.kill(os.getpid(), signal.SIGTERM)
    if of_rank(options, "raise", rank) == str(done):
        raise ValueError("told to")
    if of_rank(options, "drift", rank) == str(done):
        next(model.parameters()).data.add_(1e-3)


def digest(model: nn.Module, optimizer: Any) -> str:
    """Return a digest of what a training has come to."""
    held = [*model.state_dict().values()]
    held += [each for one in optimizer.state.values() for each in one.values()]
    content = b"".join(each.numpy().tobytes() for each in held)
    rates = repr([group["lr"] for group in optimizer.param_groups])
    return hashlib.blake2b(content + rates.encode(), digest_size=16).hexdigest()
