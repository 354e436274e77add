"""One run of Trackio, which goes on at each start: its name has the id of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbroken.trackers.package import Name, called, package


class Trackio:
    """Goes on with one run of Trackio.

    Args:
        project: The project.
        name: What the run is called, or what makes that of its id; the id is added. None for the id.
        options: Further arguments of `trackio.init`, such as `config` or `space_id`.

    Raises:
        SettingsInvalid: Trackio is not installed.
    """

    def __init__(self, project: str, name: Name = None, **options: Any) -> None:
        self._trackio = package("trackio", "trackio")
        self._options = {"project": project, **options}
        self._name = name
        self._run: Any = None

    def begin(self, run_id: str, step: int) -> int | None:
        """Go on with the run of this name."""
        del step
        name = called(self._name, run_id)
        if run_id not in name:  # Trackio goes by names: another run must not have the same
            name = f"{name}-{run_id}"
        self._run = self._trackio.init(name=name, resume="allow", **self._options)
        following = getattr(self._run, "_next_step", None)
        if following:
            return int(following) - 1
        is_local = getattr(self._run, "_is_local", False)
        return 0 if following == 0 and is_local else None  # a server may not have answered

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row to the run."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Write what waits."""
        if self._run is not None:
            self._run.finish()
