"""A small character model, in the style of nanoGPT: iterations, batches that the loop draws itself,
accumulation, a schedule set by hand, an evaluation every few iterations.

    python examples/nanogpt_style.py    # kill it, run it again: it ends with the same weights

The lines that `unbroken` needed are marked.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

import unbroken  # needed

TEXT = "the quick brown fox jumps over the lazy dog. " * 60
LETTERS = sorted(set(TEXT))
DATA = torch.tensor([LETTERS.index(each) for each in TEXT])
BLOCK, BATCH, MICRO_STEPS, ITERATIONS = 16, 8, 2, 24


def get_batch():
    starts = torch.randint(len(DATA) - BLOCK - 1, (BATCH,))
    x = torch.stack([DATA[start : start + BLOCK] for start in starts])
    y = torch.stack([DATA[start + 1 : start + BLOCK + 1] for start in starts])
    return x, y


def get_lr(iteration):
    if iteration < 4:
        return 3e-3 * (iteration + 1) / 4
    return 3e-4 + 0.5 * (1 + math.cos(math.pi * iteration / ITERATIONS)) * 2.7e-3


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, len(LETTERS))

    def forward(self, x, y):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        hidden = self.layers(self.embedding(x), mask=mask, is_causal=True)
        return F.cross_entropy(self.head(hidden).flatten(0, 1), y.flatten())


@torch.no_grad()
def estimate_loss(model):
    model.eval()
    loss = sum(model(*get_batch()).item() for _ in range(3)) / 3
    model.train()
    return loss


def main():
    torch.manual_seed(1337)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))

    run = unbroken.Run("nanogpt_output", model=model, optimizer=optimizer, save_every=5)  # needed
    for iteration in run.iterations(ITERATIONS):  # was: for iteration in range(ITERATIONS):
        for group in optimizer.param_groups:
            group["lr"] = get_lr(iteration)
        if iteration % 8 == 0:
            print(f"iteration {iteration}: loss {estimate_loss(model):.4f}")
        for _ in range(MICRO_STEPS):
            x, y = get_batch()  # nanoGPT fetches it one step ahead; here it is drawn in its own
            (model(x, y) / MICRO_STEPS).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    print("weights:", sum(each.double().abs().sum().item() for each in model.parameters()))


if __name__ == "__main__":
    main()
