"""Small trainings by TRL, on a tokenizer and a model that nothing is downloaded for."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import signal
import warnings
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from unbroken.integrations.transformers import protect

WORDS: Final = [f"w{number}" for number in range(60)]
NAMES: Final = {each: i for i, each in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}


class Dies(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Kills the process when a step is done."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        if state.global_step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def tokenizer() -> Any:
    """Return one that knows sixty words."""
    made = Tokenizer(models.WordLevel(NAMES, unk_token="<unk>"))  # noqa: S106  # no password
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


def model(directory: Path) -> Any:
    """Return a small model that was read from a folder, as a reference model is."""
    place = directory / "base"
    if not place.exists():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(NAMES), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
            attention_dropout=0.1, pad_token_id=0, eos_token_id=1, bos_token_id=1,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(place)
    return LlamaForCausalLM.from_pretrained(place)


def texts(count: int, **lengths: int) -> Any:
    """Return samples with texts of random words, by the names of their fields."""
    draw = random.Random(1)  # noqa: S311  # no secret

    def text(length: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(length + draw.randint(0, 3)))

    return Dataset.from_list([{n: text(each) for n, each in lengths.items()} for _ in range(count)])


def other_words(completions: list[str], **_: Any) -> list[float]:
    """Reward completions for the number of their words."""
    return [float(len(set(each.split()))) for each in completions]


def trainer(kind: str, directory: Path) -> Any:
    """Return a trainer of a kind, that writes below a directory."""
    given: dict[str, Any] = {
        "output_dir": str(directory / "out"), "per_device_train_batch_size": 4, "save_steps": 3,
        "learning_rate": 1e-2, "logging_steps": 2, "report_to": [], "use_cpu": True, "bf16": False,
        "seed": 5, "disable_tqdm": True, "gradient_checkpointing": False, "max_steps": 10,
    }  # fmt: skip
    common = {"model": model(directory), "processing_class": tokenizer()}
    if kind == "sft":
        data = texts(40, text=6)
        return SFTTrainer(args=SFTConfig(**given, max_length=32), train_dataset=data, **common)
    if kind == "dpo, reference follows":
        args = DPOConfig(**given, sync_ref_model=True, ref_model_sync_steps=2)
        data = texts(40, prompt=4, chosen=5, rejected=6)
        return DPOTrainer(args=args, ref_model=model(directory), train_dataset=data, **common)
    assert kind == "grpo, each generation twice"
    args = GRPOConfig(
        **given, num_generations=2, max_completion_length=6, beta=0.04, num_iterations=2
    )
    data = texts(16, prompt=4)
    return GRPOTrainer(args=args, reward_funcs=other_words, train_dataset=data, **common)


def main(kind: str, directory: Path, dies_at: int) -> None:
    """Train to the end, or to a step; write what it came to."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of trl: not ours to mend
    transformers.logging.set_verbosity_error()
    logging.getLogger("unbroken").setLevel(logging.WARNING)
    directory.mkdir(exist_ok=True)
    made = trainer(kind, directory)
    protect(made)
    made.add_callback(Dies(dies_at))
    made.train()
    digest = hashlib.sha256()
    for name, each in sorted(made.model.state_dict().items()):
        digest.update(name.encode() + each.detach().float().numpy().tobytes())
    timed = ("time", "per_second")
    came_to = {
        "weights": digest.hexdigest(),
        "log": [
            {n: each for n, each in sorted(line.items()) if not any(word in n for word in timed)}
            for line in made.state.log_history
        ],
        "verdict": str(made.unbroken.verdict),
    }
    (directory / "came_to.json").write_text(json.dumps(came_to), encoding="utf-8")
