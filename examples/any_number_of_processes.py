"""Steps that the run divides: stop it on one process, go on with three, end on two.

    torchrun --standalone --nproc-per-node 3 examples/any_number_of_processes.py
    python examples/any_number_of_processes.py

Each step has the same samples, whatever trains it, and so has the whole training. The model needs no
wrapper: the run adds the gradients up.
"""

import os

import torch
from torch import distributed, nn

import unbroken


def main():
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if count > 1:
        distributed.init_process_group("gloo")

    torch.manual_seed(0)  # the same weights on every process
    inputs = torch.randn(256, 16)
    targets = inputs.square().sum(dim=1, keepdim=True)
    model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    order = unbroken.StepBatches(
        [f"sample {number}" for number in range(len(inputs))],
        lengths=None,
        effective_batch=32,
        seed=1,
    )
    run = unbroken.Run("steps_output", order=order, model=model, optimizer=optimizer, save_every=4)
    report = run.resume()
    if rank == 0:
        print(f"{report.outcome} at step {report.position.step}, on {count} processes")
    for step in run.steps(until=32):
        for part in step.micro_batches(8):  # of this process's share
            x, y = inputs[list(part.indices)], targets[list(part.indices)]
            loss = (model(x) - y).square().sum() / len(step.indices)  # of the whole step
            step.backward(loss)
        result = step.update(clip_norm=1.0)
        if rank == 0 and result.step % 8 == 0:
            print(f"step {result.step}: loss {result.losses['loss']:.6f}")
    run.close()
    if rank == 0:
        print("weights:", sum(each.double().abs().sum().item() for each in model.parameters()))
    if count > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
