"""A training script as people write it. It doesn't know unbroken; none of its lines is for it.

python examples/unchanged.py                                        # starts at epoch 1, always
unbroken run --out unchanged_output -- python examples/unchanged.py # goes on where it was stopped
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(4 * 36, 10)

    def forward(self, x):
        x = self.dropout(F.relu(self.conv(x)))
        return F.log_softmax(self.fc(x.flatten(1)), dim=1)


def train(args, model, loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print(f"epoch {epoch} [{batch_idx}/{len(loader)}] loss {loss.item():.6f}")


def test(model, loader):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for data, target in loader:
            total += F.nll_loss(model(data), target, reduction="sum").item()
    print(f"test loss {total / len(loader.dataset):.6f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--log-interval", type=int, default=3)
    args = parser.parse_args()

    torch.manual_seed(1)
    x, y = torch.randn(60, 1, 8, 8), torch.randint(0, 10, (60,))
    train_loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[:20], y[:20]), batch_size=10)
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, args.epochs + 1):
        train(args, model, train_loader, optimizer, epoch)
        test(model, test_loader)
        scheduler.step()
    print("weights:", sum(each.double().abs().sum().item() for each in model.parameters()))


if __name__ == "__main__":
    main()
