"""Processes of their own that begin with their imports done: forked from a server that made them once.

A start of the trainer takes seconds of imports, and the tests start it many times. Such a process has
no memory, no thread and no file in common with the test: it may be killed like any other.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

SECONDS = 240
PRELOADED = [
    "unbroken_tts.train.main",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "transformers.models.gpt2.modeling_gpt2",
    "support.preloaded",
]
"""The trainer, and what it imports on its way: the three before the last take longer than a tiny training."""
NOTHING: Mapping[str, str] = {}
STARTING = threading.Lock()
"""Held while a process is started: two threads that patch the environment would leave one's in it."""


def run(
    module: str,
    words: Sequence[str],
    environment: Mapping[str, str] = NOTHING,
    *,
    seconds: float = SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Call `module.main()` with these arguments in a process and a session of its own.

    Raises:
        subprocess.TimeoutExpired: It took too long, and was killed.
    """
    return _completed(_main_of, (module, list(words)), words, environment, seconds)


def run_code(
    code: str, *words: str, cwd: Path | None = None, action: str = "default"
) -> subprocess.CompletedProcess[str]:
    """Run a program as `python -W ACTION -c` does, but for its imports.

    Raises:
        subprocess.TimeoutExpired: It took too long, and was killed.
    """
    place = str(cwd or Path.cwd())
    return _completed(_program, (code, list(words), place, action), words, NOTHING, SECONDS)


@contextmanager
def running(module: str, words: Sequence[str]) -> Iterator[BaseProcess]:
    """Call `module.main()` in a process of its own, which is killed at the end of the block."""
    with tempfile.TemporaryDirectory() as place:
        process = _begin(_main_of, (module, list(words)), Path(place), NOTHING)
        try:
            yield process
        finally:
            process.kill()
            process.join()


@contextmanager
def at_terminal(
    code: str, words: Sequence[str], device: str, environment: Mapping[str, str]
) -> Iterator[BaseProcess]:
    """Run a program as the foreground job of a terminal; in the block the program has it open."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    told, tell = context.Pipe(duplex=False)
    given = (code, list(words), device, dict(environment), tell)
    process = context.Process(target=_foreground, args=given)
    process.start()
    tell.close()
    with contextlib.suppress(EOFError):  # it has closed its end
        told.recv()
    told.close()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _begin(
    act: Callable[..., Any], given: tuple[Any, ...], place: Path, environment: Mapping[str, str]
) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(
        target=_alone, args=(act, given, str(place / "out"), str(place / "err"))
    )
    with STARTING, patch.dict(os.environ, environment):  # the server's, when it is started
        process.start()
    return process


def _completed(
    act: Callable[..., Any],
    given: tuple[Any, ...],
    words: Sequence[str],
    environment: Mapping[str, str],
    seconds: float,
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        process = _begin(act, given, place, environment)
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(words), seconds)
        told = [
            each.read_text(encoding="utf-8") if each.exists() else ""
            for each in (place / "out", place / "err")
        ]
        return subprocess.CompletedProcess(list(words), process.exitcode, *told)


def _alone(act: Callable[..., Any], given: tuple[Any, ...], out: str, err: str) -> None:
    os.setsid()  # its process group is its own
    for descriptor, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    act(*given)


def _foreground(
    code: str, words: list[str], device: str, environment: dict[str, str], tell: Connection
) -> None:
    import fcntl
    import termios

    os.setsid()
    terminal = os.open(device, os.O_RDWR)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for descriptor in range(3):
        os.dup2(terminal, descriptor)
    os.close(terminal)
    tell.close()
    sys.stdin, sys.stdout, sys.stderr = (
        open(descriptor, mode, buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115  # they stay open
        for descriptor, mode in enumerate("rww")
    )
    os.environ.clear()
    os.environ.update(environment)
    _program(code, words, str(Path.cwd()), "ignore")


def _main_of(module: str, words: list[str]) -> None:
    loaded = importlib.import_module(module)
    sys.argv = [str(loaded.__file__), *words]
    sys.exit(loaded.main())


def _program(code: str, words: list[str], cwd: str, action: Any) -> None:
    os.chdir(cwd)
    sys.argv, sys.path[:0] = ["-c", *words], [""]
    warnings.resetwarnings()
    warnings.simplefilter(action)
    sys.modules["__main__"] = program = ModuleType("__main__")
    try:
        exec(compile(code, "<string>", "exec"), vars(program))  # noqa: S102  # a test's own
    except Exception:  # noqa: BLE001  # as the interpreter does, not as multiprocessing
        traceback.print_exc()
        sys.exit(1)
