"""Everything that only a graphics card can tell, in one run: exactness, saving, speed, memory.

    PYTHONPATH=src python benchmarks/gpu.py --minutes 8 --json gpu.json
    PYTHONPATH=src python benchmarks/gpu.py --device cpu --small      # a dry run: only shows that it runs

The parts, in this order; each has a process of its own, so that one that fails leaves the others
alone, and what it found until then stands in the table and the JSON:

    resume          killed by SIGKILL, resumed, compared bit by bit: fp32, bf16, fp16 with a scaler
    save            stall and durable time of a save of the 24-layer model with its moments
    speed-earlier   the rebuilt earlier trainer: tokens a second, memory, model FLOPs utilisation
    speed-present   ours
    speed-compiled  ours with torch.compile
    memory          a step that the memory has no room for is repeated in halves
    bounds          benchmarks/replay_bounds.py on the device
    resume-compiled the first part once more, with torch.compile

Python 3.11 or newer and torch 2.11 or newer; from a bare checkout.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NEEDED = {
    "torch": "torch", "numpy": "numpy", "safetensors": "safetensors", "xxhash": "xxhash",
    "pydantic": "pydantic", "rich": "rich", "transformers": "transformers", "yaml": "pyyaml",
    "psutil": "psutil",
}  # fmt: skip
"""Module and distribution of what the parts import."""

SECONDS: dict[str, int] = {
    "resume": 110, "save": 110, "speed-earlier": 80, "speed-present": 80, "speed-compiled": 140,
    "memory": 60, "bounds": 200, "resume-compiled": 120,
}  # fmt: skip
"""The most that each part is given."""
LEAST = 15
"""Seconds with which a part is still begun."""
GOAL = "goal on an H100: at least 45 % utilisation, 2.5 times the earlier trainer's tokens a second"


@dataclass(slots=True, kw_only=True)
class Part:
    """What became of one part."""

    name: str
    outcome: str = "skipped: no time left"
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)
    trouble: str = ""


def missing() -> list[str]:
    """Return the distributions that are not installed."""
    return [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]


def run_part(name: str, device: str, *, small: bool, seconds: float) -> Part:
    """Run a part in a process of its own, which is ended when its time is over."""
    part = Part(name=name)
    words = [sys.executable, "-u", str(HERE / "gpu_part.py"), name, "--device", device]
    with tempfile.TemporaryDirectory() as temporary:
        notes = Path(temporary) / "notes.json"
        words += ["--notes", str(notes), *(["--small"] if small else [])]
        began = time.monotonic()
        # A group of its own: when its time is over, its children end with it.
        with subprocess.Popen(words, env=environment(), start_new_session=True) as process:
            over = threading.Timer(seconds, end, [process])
            over.start()
            code = process.wait()
            over.cancel()
        part.seconds = time.monotonic() - began
        if notes.is_file():
            noted = json.loads(notes.read_text(encoding="utf-8"))
            part.found, part.trouble = noted["found"], noted["trouble"]
            part.rows = [(label, text) for label, text in noted["rows"]]
    if code == 0:
        part.outcome = "done"
    elif part.seconds >= seconds:
        part.outcome = f"ended after its {seconds:.0f} s"
    else:
        part.outcome = f"FAILED (code {code})"
    return part


def end(process: subprocess.Popen[bytes]) -> None:
    """End a part and what it started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def environment() -> dict[str, str]:
    """Return the environment of a part."""
    path = os.pathsep.join([str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {
        "PYTHONPATH": path.rstrip(os.pathsep),
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # of the default's size; deterministic parts need it
    }


def print_table(facts: dict[str, Any], parts: list[Part]) -> None:
    """Print everything again, in one piece."""
    print("\n" + "=" * 100)
    print("  ".join(f"{name}: {value}" for name, value in facts.items()))
    for part in parts:
        print(f"\n{part.name}: {part.outcome} ({part.seconds:.0f} s)")
        for label, text in part.rows:
            print(f"  {label:46}{text}")
        if part.trouble:
            print("  " + "\n  ".join(part.trouble.strip().splitlines()[-8:]))
    print("\n" + "\n".join(summary(parts)), flush=True)


def summary(parts: list[Part]) -> list[str]:
    """Return how the speeds compare."""
    speeds = {
        part.name.removeprefix("speed-"): part.found["speed"]
        for part in parts
        if "speed" in part.found
    }
    lines = [GOAL]
    for name, speed in speeds.items():
        ratio = ""
        if "earlier" in speeds and name != "earlier":
            times = speed["tokens a second"] / speeds["earlier"]["tokens a second"]
            ratio = f", {times:.2f} times the earlier trainer"
        lines.append(
            f"  {name:10} {speed['tokens a second']:12,.0f} tokens/s, {speed['utilisation']:.1%} "
            f"utilisation, {speed['peak GiB']:.1f} GiB{ratio}"
        )
    return lines


def write(file: Path | None, facts: dict[str, Any], parts: list[Part]) -> None:
    """Write what is known so far."""
    if file is None:
        return
    content = {"facts": facts, "parts": [asdict(part) for part in parts]}
    aside = file.with_name(f"{file.name}.new")
    aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    aside.replace(file)


def facts_of(device: str) -> dict[str, Any]:
    """Ask a process of its own about the device: this one never takes hold of it."""
    script = "import json, sys, gpu_device; print(json.dumps(gpu_device.device_facts(sys.argv[1])))"
    told = subprocess.run(
        [sys.executable, "-c", script, device],
        env=environment() | {"PYTHONPATH": f"{HERE}{os.pathsep}{environment()['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        sys.exit(f"The device {device} can't be used:\n{told.stderr[-1500:]}")
    facts: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return facts | {"command": shlex.join(["python", *sys.argv])}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together [8]")
    parser.add_argument("--part", nargs="+", choices=SECONDS, help="only these, in this order")
    parser.add_argument("--device", default="cuda", help="cuda or cpu [cuda]")
    parser.add_argument("--small", action="store_true", help="a tiny model: a dry run")
    parser.add_argument("--json", type=Path, help="write everything here, after each part")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the parts, print and write."""
    given = parse()
    absent = missing()
    if absent:
        sys.exit(f"Not installed: {', '.join(absent)}. Install: pip install {' '.join(absent)}")
    until = time.monotonic() + 60 * given.minutes
    facts = facts_of(given.device)
    for name, value in facts.items():
        print(f"{name:16}{value}", flush=True)
    parts: list[Part] = []
    for name in given.part or SECONDS:
        left = until - time.monotonic()
        if left < LEAST:
            parts.append(Part(name=name))
        else:
            print(f"\n{name} ({left:.0f} s left)", flush=True)
            seconds = min(SECONDS[name], left)
            parts.append(run_part(name, given.device, small=given.small, seconds=seconds))
        print(f"  {name}: {parts[-1].outcome}", flush=True)
        write(given.json, facts, parts)
    print_table(facts, parts)
    if any(part.outcome.startswith("FAILED") for part in parts):
        sys.exit(1)


if __name__ == "__main__":
    main()
