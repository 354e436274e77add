"""A trainer that will be killed: `python -m unbroken_tts.demo.killable_trainer MOMENT -- FLAGS...`.

The same trainer as ever, in a process that the system ends without warning (SIGKILL; on Windows
TerminateProcess) at the moment named, as `unbroken.testing.kill_at` understands it.
"""

from __future__ import annotations

import runpy
import sys

from unbroken.testing import kill_at

KILL = 9
"""The number of the signal, and on Windows the status, that the process ends with."""


def main() -> None:
    """Arm the moment and become the trainer."""
    moment, separator, *flags = sys.argv[1:]
    assert separator == "--"
    kill_at(moment)
    sys.argv = ["unbroken-tts", "train", *flags]
    runpy.run_module("unbroken_tts.cli.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
