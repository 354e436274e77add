"""DistributedDataParallel as people write it, on as many processes as torchrun starts.

    torchrun --standalone --nproc-per-node 2 --max-restarts 3 examples/ddp.py

Kill any of the processes: torchrun starts all of them again, and the training ends with the same weights.
The lines that `unbroken` needed are marked.
"""

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import unbroken  # needed


def main():
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, count = distributed.get_rank(), distributed.get_world_size()
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)

    torch.manual_seed(0)
    inputs = torch.randn(256, 16)
    dataset = TensorDataset(inputs, inputs.square().sum(dim=1, keepdim=True))
    sampler = DistributedSampler(dataset, shuffle=True, seed=1)
    loader = DataLoader(dataset, batch_size=32 // count, sampler=sampler)
    model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 1)).to(
        device
    )
    model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    torch.manual_seed(rank)  # another dropout on each process

    run = unbroken.Run(  # needed
        "ddp_output", data=loader, model=model, optimizer=optimizer, save_every=4
    )
    for epoch in run.epochs(4):  # was: for epoch in range(4):
        sampler.set_epoch(epoch)
        total = 0.0
        for x, y in run.batches():  # was: for x, y in loader:
            loss = nn.functional.mse_loss(model(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)  # optional
            total += loss.item()
        if rank == 0:
            print(f"epoch {epoch}: loss {total / len(loader):.4f}")
    if rank == 0:
        print("weights:", sum(each.double().abs().sum().item() for each in model.parameters()))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
