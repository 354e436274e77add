"""A machine without memory for a copy of the state: the training goes on, and saves when there is some."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import preloaded

resource = pytest.importorskip("resource", reason="limits of POSIX: runs on Linux")

SCRIPT = """
import logging, resource, sys
import torch
import unbroken

logging.basicConfig(format="%(message)s")
model = torch.nn.Linear(4096, 4096)  # 64 MiB, and two times as much for the moments
optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)
run = unbroken.Run(
    sys.argv[1],
    order=unbroken.StepBatches([str(i) for i in range(8)], None, 1, 3),
    model=model,
    optimizer=optimizer,
    save_every=1,
)
run.resume()
before = resource.getrlimit(resource.RLIMIT_AS)
for step in run.steps(6):
    resource.setrlimit(resource.RLIMIT_AS, before)
    if step.number == 4:
        run.due._backoff.retry_at = 0.0  # without waiting for it
    for micro in step.micro_batches(1):
        step.backward(model(torch.ones(1, 4096)).sum())
    step.update()
    if step.number == 1:  # until the next step begins
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (150 << 20), before[1]))
run.close()
"""


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads /proc: runs on Linux, so in CI"
)
def test_a_save_without_memory_is_tried_again(tmp_path: Path) -> None:
    """It fails by name, no step is lost, and the next try succeeds."""
    done = preloaded.run_code(SCRIPT, str(tmp_path / "run"))
    assert 0 == done.returncode, done.stderr[-2000:]
    assert "SAVE FAILED: There is not enough memory for a copy of the state" in done.stderr
    assert "Saving works again" in done.stderr
    assert (tmp_path / "run/checkpoints/step-00000006").is_dir()
