"""Part 1: a training that is killed on the device goes on to the same bits.

Three processes a precision: one trains to the end; one is killed by SIGKILL some steps beyond a
save; one resumes it and trains to the end. Compared are the digest of every saved tensor and every
line of the journal, and the verdict of the repeated steps must be EXACT.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from gpu_part import Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way of computing that is killed and resumed."""

    precision: str
    deterministic: bool = True
    """Whether only algorithms run that give the same bits each time."""
    compiled: str = ""
    """Back end of torch.compile for the blocks; empty for none."""


CASES = {
    "fp32": Case(precision="fp32"),
    "bf16": Case(precision="bf16"),
    "fp16 with a scaler": Case(precision="fp16"),
}
WITHOUT = {"bf16, default algorithms": Case(precision="bf16", deterministic=False)}
"""Shown, but not expected to be equal: torch may take algorithms whose sums have no order."""
COMPILED = {"bf16, compiled": Case(precision="bf16", compiled="inductor")}
DRY = {"fp16 with a scaler": Case(precision="fp16")}
SAVE_AT, KILL_AT, STEPS = 4, 7, 10


def child(
    directory: Path, device: str, case: Case, sizes: dict[str, Any], *, kill_at: int
) -> dict[str, Any]:
    """Train to the end, or to the kill; return what came of it."""
    from gpu_device import be_deterministic
    from gpu_training import DeviceTraining, How
    from workload import Workload

    from unbroken.checkpoint.store import Store
    from unbroken.journal.journal import last_line_of_each_step

    if case.deterministic:
        be_deterministic()
    work = Workload(**sizes)
    how = How(
        device=device,
        precision=case.precision,
        micro=max(1, work.batch // 2),
        compiled=case.compiled,
    )
    training = DeviceTraining(work, directory, how)
    run = training.run
    report = run.resume("auto")
    for result in training.steps(STEPS):
        if result.step == SAVE_AT:
            run.save()
        if result.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    verdict = run.monitor.verdict
    run.save()
    checkpoint = Store(run.layout, run.run_id).newest_whole().checkpoint
    assert checkpoint is not None
    lines = last_line_of_each_step(run.layout.journal)
    run.close()
    return {
        "outcome": report.outcome,
        "from": report.position.step,
        "to_repeat": report.steps_to_repeat,
        "verdict": "" if verdict is None else str(verdict),
        "digests": {leaf: entry.digest for leaf, entry in checkpoint.manifest.leaves.items()},
        "journal": {
            str(step): {name: each for name, each in line.items() if name != "start"}
            for step, line in lines.items()
        },
    }


class Children:
    """Starts children, and leaves none behind; a context manager."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._started:
            each.kill()
            each.wait()

    def start(
        self, directory: Path, device: str, case: Case, sizes: dict[str, Any], *, kill_at: int = 0
    ) -> subprocess.Popen[str]:
        """Start one."""
        words = [
            "--directory", str(directory), "--device", device, "--case", json.dumps(asdict(case)),
            "--sizes", json.dumps(sizes), "--kill-at", str(kill_at),
        ]  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, __file__, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
        )
        self._started.append(process)
        return process


def ended(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    """Wait for a child; return what it told.

    Raises:
        RuntimeError: It ended otherwise than with this code.
    """
    out, err = process.communicate()
    if process.returncode != code:
        raise RuntimeError(
            f"a training ended with {process.returncode}, not {code}:\n{err[-3000:]}"
        )
    told: dict[str, Any] = json.loads(out.splitlines()[-1]) if code == 0 else {}
    return told


def compared(whole: dict[str, Any], resumed: dict[str, Any]) -> dict[str, Any]:
    """Compare an uninterrupted training with a resumed one."""
    ours, theirs = whole["digests"], resumed["digests"]
    other = [
        leaf for leaf in sorted(ours.keys() | theirs.keys()) if ours.get(leaf) != theirs.get(leaf)
    ]
    lines = [
        step for step in whole["journal"] if whole["journal"][step] != resumed["journal"].get(step)
    ]
    return {
        "leaves": len(ours),
        "leaves that differ": other,
        "journal lines": len(whole["journal"]),
        "journal lines that differ": lines,
        "resumed from": resumed["from"],
        "repeated": resumed["to_repeat"],
        "verdict": resumed["verdict"],
        "exact": not other and not lines and resumed["verdict"].startswith("EXACT"),
        "losses": {step: line["loss"] for step, line in whole["journal"].items()},
    }


def measure(device: str, *, small: bool, note: Note) -> None:
    """Kill and resume in each precision."""
    kill_and_resume(DRY if small else CASES | WITHOUT, device, small=small, note=note)


def kill_and_resume(cases: dict[str, Case], device: str, *, small: bool, note: Note) -> None:
    """Kill and resume each case; all processes of a stage run beside one another.

    Raises:
        RuntimeError: One that was expected to be exact was not.
    """
    from gpu_training import SMALL, TINY

    sizes = TINY if small else SMALL
    began = time.perf_counter()
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary, Children() as children:
        places = {name: Path(temporary) / str(number) for number, name in enumerate(cases)}
        whole, killed, again = ({} for _ in range(3))
        for name, case in cases.items():
            place = places[name]
            whole[name] = children.start(place.with_suffix(".whole"), device, case, sizes)
            killed[name] = children.start(place, device, case, sizes, kill_at=KILL_AT)
        for name, case in cases.items():
            try:
                ended(killed[name], -signal.SIGKILL)
                again[name] = children.start(places[name], device, case, sizes)
            except RuntimeError as error:
                failed[name] = str(error)
        for name, process in again.items():
            try:
                found = compared(ended(whole[name]), ended(process))
            except RuntimeError as error:
                failed[name] = str(error)
                continue
            note(name, found, [(f"resume after SIGKILL, {name}", told(found))])
            if not found["exact"]:
                failed[name] = "other bits"
    note("seconds", time.perf_counter() - began, [])
    for name, text in failed.items():
        note(f"{name} failed", text, [(f"resume, {name}", text[-500:].replace("\n", " | "))])
    if failed.keys() - WITHOUT.keys():
        raise RuntimeError(f"not exact: {', '.join(failed)}")


def told(found: dict[str, Any]) -> str:
    """Return a comparison as a line of the table."""
    leaves = found["leaves"] - len(found["leaves that differ"])
    lines = found["journal lines"] - len(found["journal lines that differ"])
    return (
        f"{'same bits' if found['exact'] else 'NOT THE SAME'}: {leaves} of {found['leaves']} tensors, "
        f"{lines} of {found['journal lines']} journal lines; {found['verdict']}"
    )


def main() -> None:
    """Run as a child."""
    parser = argparse.ArgumentParser(description="A child of benchmarks/gpu.py")
    for name in ("directory", "device", "case", "sizes"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--kill-at", type=int, default=0)
    given = parser.parse_args()
    found = child(
        Path(given.directory), given.device, Case(**json.loads(given.case)),
        json.loads(given.sizes), kill_at=given.kill_at,
    )  # fmt: skip
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
