"""Shows the progress of child trainings by their journals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unbroken import RunDirectory
from unbroken_tts.prepare.fitting import Stages
from unbroken_tts.progress import Progress

_LOOK_SECONDS = 0.5


@contextmanager
def watching(trainings: Mapping[str, tuple[Path, int]], stages: Stages) -> Iterator[None]:
    """While the block runs, report the steps done by each training.

    Args:
        trainings: Name -> (directory, total number of steps).
        stages: Draws progress.
    """
    looks = [
        _look(RunDirectory(directory), total, stages(name))
        for name, (directory, total) in trainings.items()
    ]
    done = threading.Event()

    def loop() -> None:
        while not done.wait(_LOOK_SECONDS):
            for look in looks:
                look()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for look in looks:
            look()


def _look(directory: RunDirectory, total: int, report: Progress) -> Callable[[], None]:
    seen = [0]  # a training that waits for another one has not begun

    def look() -> None:
        size = directory.journal.stat().st_size if directory.journal.exists() else 0
        if size != seen[0]:
            seen[0] = size
            report(max(directory.steps(), default=0), total)

    return look
