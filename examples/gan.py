"""A GAN with two optimisers; the critic is updated twice for each update of the generator.

    python examples/gan.py              # kill it, run it again: it ends with the same weights

The lines that `unbroken` needed are marked.
"""

import torch
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

import unbroken  # needed


def main():
    torch.manual_seed(0)
    angle = 6.28 * torch.rand(128)
    loader = DataLoader(
        TensorDataset(torch.stack([angle.cos(), angle.sin()], dim=1)), batch_size=16, shuffle=True
    )
    generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    optimizer_c = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.999))

    run = unbroken.Run(  # needed
        "gan_output", data=loader,
        model={"generator": generator, "critic": critic},
        optimizer={"generator": optimizer_g, "critic": optimizer_c}, save_every=6,
    )  # fmt: skip
    for epoch in run.epochs(4):  # was: for epoch in range(4):
        for i, (real,) in run.enumerate():  # was: for i, (real,) in enumerate(loader):
            critic.zero_grad()
            fake = generator(torch.randn(len(real), 4))
            loss_c = softplus(-critic(real)).mean() + softplus(critic(fake.detach())).mean()
            loss_c.backward()
            optimizer_c.step()
            if i % 2:
                generator.zero_grad()
                softplus(-critic(generator(torch.randn(len(real), 4)))).mean().backward()
                optimizer_g.step()
        print(f"epoch {epoch}: loss of the critic {loss_c.item():.4f}")
    parameters = [*generator.parameters(), *critic.parameters()]
    print("weights:", sum(each.double().abs().sum().item() for each in parameters))


if __name__ == "__main__":
    main()
