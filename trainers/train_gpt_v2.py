"""Train the GPT of an IndexTTS2-style voice: the command its users know.

The same program as `unbroken-tts train`; this file only finds it. Type the same line again after a
stop or a crash, with `--resume auto`, and training goes on as if nothing had happened.

The earlier guide told its readers to search this file for two phrases. What they stood for now
lives elsewhere, and a test guards each:

`CRITICAL: Always restore training mode`
    Validation runs isolated: the mode of each submodule and all randomness are put back whatever
    happens inside. Module: src/unbroken/loop/isolation.py.
    Test: tests/unit/loop/test_isolation.py.

`start_epoch = 0  # NEW`
    Nothing is counted from 0 or skipped by arithmetic after a resume: the position (epoch, step,
    samples done) is part of the checkpoint, and the order of the data follows from it.
    Modules: src/unbroken/state/position.py and src/unbroken/order/step_batches.py.
    Test: tests/unit/order/test_step_batches.py.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

MISSING = """\
error: {what}
The training program itself is in a package that has to be installed once.
In the folder {folder}, run:  make setup  (then use .venv/bin/python),
or, without make:  python -m pip install -c constraints.txt -e ".[tts]"
"""


def main() -> int:
    """Run `unbroken-tts train` with the words of this command; return its exit code."""
    folder = Path(__file__).resolve().parent.parent
    what = ""
    if sys.version_info < (3, 11):  # noqa: UP036 -- the file must say so itself when it isn't met
        what = f"this is Python {sys.version.split()[0]}, but 3.11 or newer is needed."
    else:
        absent = [name for name in ("unbroken_tts", "torch") if not importlib.util.find_spec(name)]
        if absent:
            what = f"{sys.executable} has no package '{absent[0]}'."
    if what:
        sys.stderr.write(MISSING.format(what=what, folder=folder))
        return 2

    from unbroken_tts.cli.start import train

    return train(["train", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
