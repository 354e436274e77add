"""The recipes do with exit codes what their page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="scripts of POSIX")


def program(place: Path, name: str, body: str) -> None:
    """Write a small program into a directory of the path."""
    path = place / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize(("code", "requeued"), [(0, ""), (75, "requeue 7\n"), (3, ""), (137, "")])
def test_a_stopped_job_is_put_into_the_queue_again(
    tmp_path: Path, code: int, requeued: str
) -> None:
    """And no other one; the code of the training is that of the job."""
    program(tmp_path, "srun", f'echo "$@" > "{tmp_path}/ran"\nexit {code}')
    program(tmp_path, "scontrol", f'echo "$@" > "{tmp_path}/asked"')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    command = ["bash", str(RECIPES / "slurm.sh"), "--out", "x"]
    done = subprocess.run(command, env=environment, check=False)
    assert code == done.returncode
    assert "python train.py --out x\n" == (tmp_path / "ran").read_text()
    asked = tmp_path / "asked"
    assert requeued == (asked.read_text() if asked.exists() else "")


@pytest.mark.parametrize("last", [0, 3])
def test_a_stopped_program_is_started_again_until_it_ends(tmp_path: Path, last: int) -> None:
    """With the code that it ends with at last."""
    program(
        tmp_path,
        "train",
        f'echo x >> "{tmp_path}/starts"\n[ $(wc -l < "{tmp_path}/starts") -lt 3 ] && exit 75\nexit {last}',
    )
    command = ["bash", str(RECIPES / "again.sh"), str(tmp_path / "train")]
    assert last == subprocess.run(command, check=False).returncode
    assert "x\nx\nx\n" == (tmp_path / "starts").read_text()


def test_the_job_of_kubernetes_knows_the_exit_codes() -> None:
    """75 and a lost node are no failures; what a person has to look at ends the job."""
    job = yaml.safe_load((RECIPES / "kubernetes.yaml").read_text(encoding="utf-8"))
    rules = job["spec"]["podFailurePolicy"]["rules"]
    codes = {
        rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule
    }
    assert {"FailJob": [2, 3, 4], "Ignore": [75]} == codes
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 60
