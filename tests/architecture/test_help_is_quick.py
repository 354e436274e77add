"""No command imports what takes time and isn't needed: what lets them import late (PLC0415)."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

SLOW = ("matplotlib", "numpy", "rich", "torch", "transformers")


@pytest.mark.parametrize("program", ["unbroken.cli.main", "unbroken_tts.cli.main"])
def test_no_help_waits_for_what_is_slow_to_import(program: str) -> None:
    """The help of the program and of each of its commands, in one process."""
    commands = import_module(program).COMMANDS
    code = (
        f"import sys; from {program} import main\n"
        f"for words in [[], *([each] for each in {list(commands)})]:\n"
        "    try: main([*words, '--help'])\n"
        "    except SystemExit: pass\n"
        f"sys.stderr.write(repr(sorted(sys.modules.keys() & {set(SLOW)})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "[]" == done.stderr
    assert len(commands) <= done.stdout.count("usage: ") - 1


def test_what_only_reads_does_not_wait_for_the_compiler() -> None:
    """To load the trainer imports neither torch's compiler, which takes 2 s, nor transformers."""
    code = (
        "import sys, unbroken_tts.train.main\n"
        "sys.stdout.write(repr(sorted(sys.modules.keys() & {'torch._dynamo', 'transformers'})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "[]" == done.stdout
