"""Lightning programs as processes of their own, killed and started again."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

pytest.importorskip("lightning")

from support import lightning_fits as fits
from support import lightning_kinds as kinds
from support.sameness import same
from unbroken.checkpoint import disk
from unbroken.testing.disk_calls import Call, WatchedSystem

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Lightning, about small programs
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]
T = TypeVar("T")


@pytest.fixture(scope="module")
def processes() -> Any:
    """Real processes, quickly: each is forked from one that has everything loaded and never trained."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.lightning_fits", "torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    return context


def start(
    processes: Any,
    kind: str,
    directory: Path,
    cut: Any = None,
    act: Callable[..., None] = fits.child,
    **options: Any,
) -> tuple[int, Any]:
    """Run a program; return its exit code, and what it came to if it ended."""
    result = directory.with_suffix(".result")
    result.unlink(missing_ok=True)
    process = processes.Process(target=act, args=(kind, directory, cut, result, options))
    process.start()
    process.join(120)
    found = torch.load(result, weights_only=True) if result.exists() else None
    return int(process.exitcode), found


def differences(expected: Any, found: Any) -> list[str]:
    """Return the names of what is not the same."""
    return [key for key in expected if not same(expected[key], found[key])]


@pytest.mark.slow
def test_a_killed_program_goes_on_exactly(processes: Any, tmp_path: Path) -> None:
    """Killed inside an epoch and started again, a program comes to the same bits, and says EXACT."""
    _, whole = start(processes, "automatic", tmp_path / "whole")
    code, nothing = start(
        processes, "automatic", tmp_path / "killed", ("training", 12, fits.SIGKILL)
    )
    assert (-signal.SIGKILL, None) == (code, nothing)
    code, found = start(processes, "automatic", tmp_path / "killed")
    assert 0 == code
    assert [] == differences(whole, found)
    assert "[Replay] EXACT" in (tmp_path / "killed.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_stopped_program_ends_with_75(processes: Any, tmp_path: Path) -> None:
    """After SIGTERM the process ends with 75, having saved."""
    code, nothing = start(processes, "manual", tmp_path / "run", ("training", 6, signal.SIGTERM))
    assert (75, None) == (code, nothing)
    assert "Stopped by SIGTERM" in (tmp_path / "run.log").read_text(encoding="utf-8")


class DeadlyDisk(WatchedSystem):
    """Ends the process without warning before one of its calls."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def around(self, call: Call, perform: Callable[[], T]) -> T:
        """Count down, then die: in the background thread, while the other one trains."""
        del call
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), fits.SIGKILL)
        return perform()


def dying(kind: str, directory: Path, cut: Any, result: Path, options: dict[str, Any]) -> None:
    """Run a program on a disk that kills it."""
    disk.system = DeadlyDisk(options.pop("calls"))
    fits.child(kind, directory, cut, result, options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(kinds.KINDS))
def test_a_program_that_is_killed_over_and_over_goes_on_exactly(
    processes: Any, tmp_path: Path, kind: str
) -> None:
    """Killed at random batches, in validations and in saves, a program comes to the same bits."""
    _, whole = start(processes, kind, tmp_path / "whole", settings={"save_every": 2})
    draw = random.Random(kind)  # noqa: S311  # deaths, no secrets
    found, lives = None, 0
    while found is None and lives < 12:
        lives += 1
        how = draw.choice(["training", "validation", "disk"])
        options: dict[str, Any] = {"settings": {"save_every": 2}}
        if lives == 12:
            code, found = start(processes, kind, tmp_path / "killed", **options)
        elif how == "disk":
            options["calls"] = draw.randrange(20, 300)
            code, found = start(processes, kind, tmp_path / "killed", act=dying, **options)
        else:
            cut = (how, draw.randint(2, 8), fits.SIGKILL)
            code, found = start(processes, kind, tmp_path / "killed", cut, **options)
        assert code in (0, -signal.SIGKILL), (tmp_path / "killed.log").read_text(encoding="utf-8")
    assert [] == differences(whole, found)
    assert "DIVERGED" not in (tmp_path / "killed.log").read_text(encoding="utf-8")


def stock(kind: str, directory: Path, cut: Any, result: Path, options: dict[str, Any]) -> None:
    """Run a program without protection; go on in Lightning's own way from its newest file."""
    trainer, module = fits.made(kind, directory, cut, is_protected=False, **options)
    last = directory / "files" / "last.ckpt"
    given = {"ckpt_path": last, "weights_only": False} if last.exists() else {}
    trainer.fit(module, **kinds.KINDS[kind].loaders(), **given)
    torch.save(fits.outcome(trainer, module, directory), result)


@pytest.mark.slow
def test_lightning_alone_goes_on_to_other_weights(processes: Any, tmp_path: Path) -> None:
    """Killed and resumed in Lightning's own way, the same program comes to other weights."""
    _, whole = start(processes, "automatic", tmp_path / "whole", act=stock)
    cut = ("training", 9, fits.SIGKILL)
    code, _ = start(processes, "automatic", tmp_path / "killed", cut, act=stock)
    assert -signal.SIGKILL == code
    code, found = start(processes, "automatic", tmp_path / "killed", act=stock)
    assert 0 == code
    assert "weights" in differences(whole, found)
