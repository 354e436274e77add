"""Processes of their own that begin with their imports done: forked from a server that made them once.

A start of the trainer takes seconds of imports, and the tests start it many times. Such a process has
no memory, no thread and no file in common with the test: it may be killed like any other.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

SECONDS = 240
PRELOADED = ["unbroken_tts.train.main", "torch._dynamo", "support.preloaded"]


def run(
    module: str, words: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Call `module.main()` with these arguments in a process and a session of its own.

    Raises:
        subprocess.TimeoutExpired: It took too long, and was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        process = context.Process(target=_call, args=(module, list(words), str(out), str(err)))
        with patch.dict(os.environ, environment):  # the server's, when it is started
            process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(words), SECONDS)
        told = [each.read_text(encoding="utf-8") if each.exists() else "" for each in (out, err)]
        return subprocess.CompletedProcess(list(words), process.exitcode, *told)


def _call(module: str, words: list[str], out: str, err: str) -> None:
    os.setsid()  # its process group is its own
    for descriptor, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    loaded = importlib.import_module(module)
    sys.argv = [str(loaded.__file__), *words]
    sys.exit(loaded.main())
