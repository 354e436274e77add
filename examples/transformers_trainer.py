"""Train a small GPT-2 with the Trainer of Hugging Face, so that it can be killed at any moment.

    python examples/transformers_trainer.py [OUTPUT_DIR]

Kill it (Ctrl+C, kill -9, a power cut) and start it again: it ends with the same weights, to the last bit.
Three lines are there for `unbroken`; each has a comment. The rest is a program as people know it, with a
model that is built here, and data that are drawn, so that it needs no network.
"""

import logging
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from unbroken.integrations.transformers import protect  # unbroken: the adapter

WORDS, LENGTH = 64, 16


class Counting(torch.utils.data.Dataset):
    """Sequences that count up from a number, some of them disturbed at random."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        ids = (torch.arange(LENGTH) + index) % WORDS
        disturbed = torch.rand(LENGTH) < 0.1
        ids[disturbed] = torch.randint(WORDS, (int(disturbed.sum()),))
        return {"input_ids": ids, "labels": ids.clone()}


def main(output_dir):
    set_seed(1)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=LENGTH, vocab_size=WORDS)
    config.bos_token_id = config.eos_token_id = 0
    trainer = Trainer(
        model=GPT2LMHeadModel(config),
        args=TrainingArguments(
            output_dir=output_dir,
            num_train_epochs=2,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            learning_rate=3e-3,
            warmup_steps=4,
            lr_scheduler_type="cosine",
            eval_strategy="steps",
            eval_steps=8,
            save_steps=8,
            save_total_limit=2,
            load_best_model_at_end=True,
            logging_steps=4,
            report_to=[],
        ),
        train_dataset=Counting(200),
        eval_dataset=Counting(40),
    )
    protect(trainer)  # unbroken: train() goes on where the last start was stopped, or begins
    result = trainer.train()
    trainer.save_model()
    print(f"done: {result.global_step} steps, loss {result.training_loss:.4f}")


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(message)s")  # unbroken: show what it reports
    main(sys.argv[1] if len(sys.argv) > 1 else "transformers_output")
