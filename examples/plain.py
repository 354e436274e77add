"""A training as people write it: epochs, augmentation in workers, validation, the best model kept.

    python examples/plain.py            # kill it, run it again: it ends with the same weights

The lines that `unbroken` needed are marked.
"""

import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import unbroken  # needed


class Spirals(Dataset):
    """Two spirals, moved a little each time a point is read."""

    def __init__(self, points):
        angle = torch.linspace(0.3, 3.0, points // 2)
        arm = torch.stack([angle * torch.cos(3 * angle), angle * torch.sin(3 * angle)], dim=1)
        self.points = torch.cat([arm, -arm])
        self.labels = torch.arange(points).ge(points // 2).float()

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        moved = self.points[index] + 0.05 * torch.randn(2)
        return moved * random.uniform(0.95, 1.05), self.labels[index]


def accuracy(model, dataset):
    model.eval()
    with torch.no_grad():
        score = ((model(dataset.points).squeeze(1) > 0) == dataset.labels.bool()).float().mean()
    model.train()
    return score.item()


def main():
    torch.manual_seed(0)
    train = Spirals(160)
    loader = DataLoader(train, batch_size=16, shuffle=True, num_workers=1)
    model = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    average = torch.optim.swa_utils.AveragedModel(model)

    run = unbroken.Run(  # needed
        "plain_output", data=loader, model=model, optimizer=optimizer, scheduler=scheduler,
        average=average, save_every=8,
    )  # fmt: skip
    for epoch in run.epochs(6):  # was: for epoch in range(6):
        for x, y in run.batches():  # was: for x, y in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(model)
            run.log(loss=loss)  # optional: the journal then has the loss of each batch
        scheduler.step()
        print(f"epoch {epoch}: accuracy {accuracy(average, train):.3f}")
    print("weights:", sum(each.double().abs().sum().item() for each in model.parameters()))


if __name__ == "__main__":
    main()
