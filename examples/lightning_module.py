"""A Lightning program that can be killed at any moment, and goes on exactly when it is started again.

    python examples/lightning_module.py [DIRECTORY]

It learns the sign of a sum from noisy samples, with dropout, augmentation, a schedule, early stopping,
the best files kept, and a validation with random numbers. Kill it (`kill -9`), start it again, and
compare the last line that it prints with that of a program that ran through.
"""

import hashlib
import logging
import sys

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from unbroken.integrations.lightning import protect  # unbroken: the import


class Sums(Dataset):
    """Vectors with noise, which is drawn anew each time that one is read."""

    def __init__(self, count, first):
        self.count, self.first = count, first

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        vector = torch.randn(8, generator=torch.Generator().manual_seed(self.first + index))
        return vector + 0.1 * torch.randn(8), (vector.sum() > 0).float()


class Signs(pl.LightningModule):
    """Learns whether the entries of a vector have a positive sum."""

    def __init__(self, rate=1e-2):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))

    def forward(self, vectors):
        return self.net(vectors).squeeze(1)

    def training_step(self, batch, batch_idx):
        vectors, signs = batch
        loss = nn.functional.binary_cross_entropy_with_logits(self(vectors), signs)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        vectors, signs = batch
        guessed = self(vectors + 0.1 * torch.randn_like(vectors)) > 0
        self.log("val_error", (guessed != (signs > 0.5)).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.rate)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)]


def main(directory):
    pl.seed_everything(1)  # the same initial weights at each start
    trainer = pl.Trainer(
        max_epochs=4,
        default_root_dir=directory,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            pl.callbacks.ModelCheckpoint(monitor="val_error", save_top_k=2),
            pl.callbacks.EarlyStopping("val_error", patience=3),
        ],
    )
    protect(trainer, save_every=10)  # unbroken: the line
    module = Signs()
    train = DataLoader(Sums(240, first=0), batch_size=16, shuffle=True)
    trainer.fit(module, train, DataLoader(Sums(100, first=1000), batch_size=50))
    weights = b"".join(each.detach().numpy().tobytes() for each in module.parameters())
    print(f"step {trainer.global_step}, weights {hashlib.sha256(weights).hexdigest()[:16]}")


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main(sys.argv[1] if len(sys.argv) > 1 else "training_output")
