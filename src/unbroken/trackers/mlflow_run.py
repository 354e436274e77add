"""One run of MLflow, found again by a tag with the id of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from unbroken.trackers.package import Name, called, package

TAG = "unbroken.run_id"
"""Tag by which a run is found again."""
MOST = 1000
"""Metrics that MLflow takes in one request."""
ENOUGH = 500
"""Metrics that are sent without waiting for more."""
SEND_SECONDS = 1.0
"""Time between two requests."""


class MLflow:
    """Goes on with one run of MLflow.

    Args:
        project: The experiment.
        name: What the run is called, or what makes that of its id; None for the id.
        tracking_uri: Where MLflow stores; None for what MLflow is set to.

    Raises:
        SettingsInvalid: MLflow is not installed.
    """

    def __init__(self, project: str, name: Name = None, tracking_uri: str | None = None) -> None:
        # Its pauses between tries would draw from the global generator, in which training draws.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
        self._mlflow = package("mlflow", "mlflow")
        self._project = project
        self._name = name
        self._uri = tracking_uri
        self._client: Any = None
        self._run_id = ""
        self._waiting: list[Any] = []
        self._sent = 0.0

    def begin(self, run_id: str, step: int) -> int | None:
        """Find the run in the experiment, or begin it there."""
        del step
        self._client = self._mlflow.MlflowClient(tracking_uri=self._uri)
        experiment = self._experiment()
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run_id}'")
        if not found:
            # With a name: MLflow would draw one from the global generator.
            run = self._client.create_run(
                experiment, tags={TAG: run_id}, run_name=called(self._name, run_id)
            )
            self._run_id = run.info.run_id
            return 0
        self._run_id = found[0].info.run_id
        self._client.update_run(self._run_id, status="RUNNING")
        newest = found[0].data.to_proto().metrics  # of each name the last
        return max((int(each.step) for each in newest), default=0)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._project)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(self._project))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take in values; several steps are sent at once."""
        now = time.time()
        metric = self._mlflow.entities.Metric
        self._waiting += [
            metric(name, each, int(now * 1000), step) for name, each in values.items()
        ]
        if len(self._waiting) >= ENOUGH or now - self._sent > SEND_SECONDS:
            self._send()

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self._run_id, self._waiting[:MOST])
            del self._waiting[:MOST]
        self._sent = time.time()

    def close(self) -> None:
        """Send what waits, and mark the run as finished; a later start marks it as running."""
        if self._run_id:
            self._send()
            self._client.set_terminated(self._run_id)
