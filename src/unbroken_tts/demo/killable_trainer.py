"""A trainer that will be killed: `python -m unbroken_tts.demo.killable_trainer MOMENT -- FLAGS...`.

The ordinary trainer, in a process that is killed without warning (SIGKILL; on Windows
TerminateProcess) at the given moment, in the syntax of `unbroken.testing.kill_at`.
"""

from __future__ import annotations

import runpy
import sys

from unbroken.testing import kill_at

KILL = 9
"""The number of the signal (on Windows: the exit status) that ends the process."""


def main() -> None:
    """Arm the kill, then run the trainer."""
    moment, separator, *flags = sys.argv[1:]
    assert separator == "--"
    kill_at(moment)
    sys.argv = ["unbroken-tts", "train", *flags]
    runpy.run_module("unbroken_tts.cli.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
