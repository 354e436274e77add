"""A loop over Hugging Face Accelerate, in the shape of its examples: accumulation and clipping.

    python examples/accelerate_loop.py  # kill it, run it again: it ends with the same weights

The lines that `unbroken` needed are marked.
"""

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from unbroken.integrations.accelerate import protect  # needed


def main():
    set_seed(42)
    accelerator = Accelerator(gradient_accumulation_steps=2, cpu=True)
    x = torch.randn(90, 6)
    loader = DataLoader(TensorDataset(x, x.sum(dim=1)), batch_size=8, shuffle=True)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=30)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

    run = protect(accelerator, "accelerate_output", data=loader, save_every=5)  # needed
    for epoch in run.epochs(3):  # was: for epoch in range(3):
        model.train()
        for inputs, targets in run.batches():  # was: for inputs, targets in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.mse_loss(model(inputs).squeeze(1), targets)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        accelerator.print(f"epoch {epoch}: loss {loss.item():.4f}")
    parameters = accelerator.unwrap_model(model).parameters()
    accelerator.print("weights:", sum(each.double().abs().sum().item() for each in parameters))


if __name__ == "__main__":
    main()
