"""A tiny language model and random data for `transformers.Trainer`, as a program and in a process.

    python tests/support/hf_training.py DIRECTORY '{"num_train_epochs": 2, ...}'

trains with `protect`, prints the verdict of the resume and what the training came to. Beside training
arguments, the object may have: `kill`, a step after whose update the process kills itself with SIGKILL;
`kill_in_evaluation`, a step in whose evaluation it does; `kill_in_folder`, a step in whose folder it has
written the model and nothing else; `kill_at_change`, the number of a change of the disk; `stop`, a step
after which it gets SIGTERM; `stock`, to train without `protect`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from torch.utils.data import Dataset
from transformers import (
    EarlyStoppingCallback,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from unbroken.checkpoint import disk
from unbroken.checkpoint.system import System
from unbroken.integrations.transformers import protect

SAMPLES = 22
WORDS = 50


class Killed(BaseException):
    """Ends a training at once, as a kill does, but lets the process live."""


class Lines(Dataset[dict[str, torch.Tensor]]):
    """Token ids of several lengths; a draw of numpy shifts those of each sample."""

    def __init__(
        self,
        count: int = SAMPLES,
        *,
        draws: bool = True,
        shift: int = 0,
        edited: Collection[int] = (),
    ) -> None:
        self.count, self.draws, self.shift, self.edited = count, draws, shift, edited

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index >= self.count:
            raise IndexError(index)  # so that it can be iterated over
        drawn = int(np.random.randint(5)) if self.draws else 0  # noqa: NPY002  # as people write it
        length = 4 + index % 5
        drawn += self.shift + (index in self.edited)
        ids = (torch.arange(length) * 7 + index * 3 + drawn) % WORDS
        return {"input_ids": ids, "labels": ids.clone()}


def padded(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Pad to the longest, and mask one token of each sample at random."""
    longest = max(len(each["input_ids"]) for each in samples)

    def pad(values: torch.Tensor, fill: int) -> torch.Tensor:
        return torch.cat([values, torch.full((longest - len(values),), fill)])

    ids = torch.stack([pad(each["input_ids"], 0) for each in samples])
    labels = torch.stack([pad(each["labels"], -100) for each in samples])
    ids[torch.arange(len(ids)), torch.randint(4, (len(ids),))] = 1
    return {"input_ids": ids, "labels": labels}


class Ends(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Ends the process, or the training, at a step."""

    def __init__(self, chosen: dict[str, Any]) -> None:
        self.chosen = chosen

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        if state.global_step == self.chosen.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if state.global_step == self.chosen.get("raise"):
            raise Killed
        if state.global_step == self.chosen.get("stop"):
            os.kill(os.getpid(), signal.SIGTERM)

    def on_prediction_step(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        if state.global_step == self.chosen.get("kill_in_evaluation"):
            os.kill(os.getpid(), signal.SIGKILL)
        if state.global_step == self.chosen.get("raise_in_evaluation"):
            raise Killed


def model(**config: Any) -> Any:
    """Return the model, built from the same weights each time."""
    transformers.set_seed(0)
    kinds = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": WORDS}
    return GPT2LMHeadModel(
        GPT2Config(**{**kinds, "bos_token_id": 0, "eos_token_id": 0, "loss_type": "ForCausalLM", **config})
    )  # fmt: skip


def trainer_of(directory: Path, **chosen: Any) -> Any:
    """Return a trainer; `chosen` are training arguments, and what the module's docstring names."""
    names = set(chosen) & set(TrainingArguments.__dataclass_fields__)
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "num_train_epochs": 2,
        "learning_rate": 1e-2, "save_steps": 3, "logging_steps": 2, "report_to": [],
        "disable_tqdm": True, "use_cpu": True,
    }  # fmt: skip
    arguments |= {name: chosen[name] for name in names}
    callbacks: list[Any] = [Ends(chosen)]
    if "patience" in chosen:
        callbacks.append(EarlyStoppingCallback(chosen["patience"]))
    callbacks += chosen.get("callbacks", [])
    network = model(**chosen.get("config", {}))
    if chosen.get("lora"):
        lora = peft.LoraConfig(target_modules=["c_attn"], lora_dropout=0.1, fan_in_fan_out=True)
        network = peft.get_peft_model(network, lora)
    return chosen.get("trainer_class", Trainer)(
        network,
        TrainingArguments(output_dir=str(directory), **arguments),
        data_collator=padded,
        train_dataset=chosen.get("data") or Lines(),
        eval_dataset=chosen.get("eval_data") or Lines(9),
        callbacks=callbacks,
        processing_class=chosen.get("processing_class"),
        optimizers=chosen.get("optimizers", (None, None)),
    )


def digest(trainer: Any) -> str:
    """Return a digest of the weights."""
    tensors = trainer.model.state_dict().values()
    return hashlib.sha256(b"".join(e.detach().numpy().tobytes() for e in tensors)).hexdigest()[:16]


def came_to(trainer: Any, output: Any) -> dict[str, Any]:
    """Return what a training came to: weights, log without times, scores."""
    times = ("runtime", "per_second")
    log = [
        {k: v for k, v in each.items() if not k.endswith(times)}
        for each in trainer.state.log_history
    ]
    return {
        "weights": digest(trainer),
        "steps": output.global_step,
        "loss": output.training_loss,
        "best": [trainer.state.best_metric, Path(trainer.state.best_model_checkpoint or "").name],
        "log": log,
    }


def trained(directory: Path, **chosen: Any) -> tuple[dict[str, Any], Any]:
    """Train a protected trainer; return what it came to, and the trainer."""
    trainer = protect(trainer_of(directory, **chosen), **chosen.get("protect", {}))
    return came_to(trainer, trainer.train()), trainer


def die_while_saving(chosen: dict[str, Any]) -> None:
    """Kill this process while a folder, or anything, is being written."""
    if "kill_in_folder" in chosen:
        own = GPT2LMHeadModel.save_pretrained

        def save(model: Any, directory: Any, *args: Any, **kwargs: Any) -> None:
            own(model, directory, *args, **kwargs)
            if str(directory).endswith(f"checkpoint-{chosen['kill_in_folder']}"):
                os.kill(os.getpid(), signal.SIGKILL)

        GPT2LMHeadModel.save_pretrained = save
    if "kill_at_change" in chosen:
        left = iter(range(chosen["kill_at_change"], -1, -1))

        class Dying(System):
            """Dies instead of making one of the changes."""

            def __getattribute__(self, name: str) -> Any:
                if not name.startswith("_") and next(left, 1) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__getattribute__(name)

        disk.system = Dying()


def child(directory: Path, chosen: dict[str, Any]) -> None:
    """Train in a process of its own; what it came to lies beside the directory afterwards."""
    warnings.simplefilter("ignore")
    die_while_saving(chosen)
    result, trainer = trained(directory, **chosen)
    result["verdict"] = str(trainer.unbroken.verdict)
    result["resumed_at"] = trainer.unbroken.report.position.step
    directory.with_suffix(".json").write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    """Train as a program."""
    warnings.simplefilter("ignore")
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
    logging.getLogger("httpx").setLevel("WARNING")
    directory, chosen = Path(sys.argv[1]), json.loads(sys.argv[2])
    die_while_saving(chosen)
    trainer = trainer_of(directory, **chosen)
    if chosen.get("stock"):
        last = transformers.trainer_utils.get_last_checkpoint(str(directory))
        output = trainer.train(resume_from_checkpoint=last)
    else:
        output = protect(trainer).train()
    print(json.dumps(came_to(trainer, output)))  # noqa: T201  # its result


if __name__ == "__main__":
    main()
