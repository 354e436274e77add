import torch
from torch.utils.data import DataLoader, TensorDataset

import unbroken


@unbroken.protect("training_output", save_every=5)
def train(epochs):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.randn(40, 4)), batch_size=8, shuffle=True)
    values = unbroken.Values(best=float("inf"))
    for _ in range(epochs):
        for (batch,) in loader:
            loss = model(batch).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        values.best = min(values.best, loss.item())
    return values.best


print(train(3))
