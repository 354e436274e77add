import subprocess
import sys
from pathlib import Path

import unbroken
from unbroken.testing import assert_resume_is_exact

Path("my_training.py").write_text(
    """
import sys
import torch
import unbroken
from unbroken.testing import kill_at

def train(directory, until):
    torch.manual_seed(0)
    data, model = torch.randn(8, 4), torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    names = [f"sample-{i}" for i in range(len(data))]
    order = unbroken.StepBatches(names, lengths=None, effective_batch=4, seed=1)
    run = unbroken.Run(directory, order=order, model=model, optimizer=optimizer)
    run.resume()
    for step in run.steps(until):
        for micro in step.micro_batches(size=2):
            step.backward(model(data[list(micro.indices)]).square().sum() / len(step.indices))
        step.update()
    run.close()
    return locals()

if __name__ == "__main__":
    kill_at("inside:3:2")  # dies in step 3, with two samples' gradients in memory only
    train("killed", 4)
"""
)
sys.path.insert(0, ".")
from my_training import train  # noqa: E402  # it was just written

assert_resume_is_exact(train, steps=2)
died = subprocess.run([sys.executable, "my_training.py"], check=False)
assert abs(died.returncode) == 9
print("killed after step", max(unbroken.RunDirectory("killed").steps()))
train("killed", 4)
