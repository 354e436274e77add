"""One run of Weights & Biases, which goes on at each start: its id is that of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbroken.errors import SettingsInvalid
from unbroken.trackers.package import Name, called, package
from unbroken.trackers.wandb_file import last_step

OFFLINE = ("offline", "dryrun", "disabled")
"""Modes in which nothing is sent."""


class Wandb:
    """Goes on with one run of Weights & Biases.

    Args:
        project: The project.
        name: What the run is called, or what makes that of its id; None for the id.
        options: Further arguments of `wandb.init`, such as `entity`, `config`, `dir` or `mode`.

    Raises:
        SettingsInvalid: wandb is not installed.
    """

    def __init__(self, project: str, name: Name = None, **options: Any) -> None:
        self._wandb = package("wandb", "wandb")
        # Before the run is there: what begins first ends last, and wandb's helper has to outlive it.
        self._settings = self._wandb.setup().settings
        # A run that the program itself has open stays what it is.
        self._options = {"project": project, "reinit": "create_new", **options}
        self._name = name
        self._run: Any = None

    def begin(self, run_id: str, step: int) -> int | None:
        """Go on with the run of this id, on the server or in local files.

        Raises:
            SettingsInvalid: It would be sent, and nobody is logged in.
        """
        del step
        self._require_login()
        name = called(self._name, run_id)
        self._run = self._wandb.init(id=run_id, name=name, resume="allow", **self._options)
        if self._run.starting_step:
            return int(self._run.starting_step) - 1
        return last_step(Path(self._run.dir).parents[1], run_id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row to the run's history."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Write the last row, and let wandb end."""
        if self._run is not None:
            self._run.finish()

    def _require_login(self) -> None:
        """Log in with the key that is there; wandb would ask a person, who sees a training run.

        Raises:
            SettingsInvalid: There is none.
        """
        mode = self._options.get("mode") or os.environ.get("WANDB_MODE")
        if (mode or self._settings.mode) in OFFLINE or self._wandb.login(prompt=False):
            return
        raise SettingsInvalid(
            "Nobody is logged in to Weights & Biases.",
            "Nothing can be sent there.",
            "Run `wandb login` once, or set WANDB_MODE=offline and run `wandb sync` later.",
        )
