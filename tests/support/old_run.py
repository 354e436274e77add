"""Runs of the earlier trainer for tests: its files, written in its form, and the recorded ones again.

The recorded runs are written from the arrays in tests/fixtures/legacy: weights, moments and counters
are those of the real files, the encoders of our own making.
"""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.torch_version import TorchVersion

from support.legacy_fixture import FOLDER, VOCABULARY, expected, legacy_config, recorded_weights
from support.tiny_trainer import Ended, run_program
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders
from unbroken_tts.rescue.whole import parameter_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unbroken_tts.model.config import GptConfig

Content = dict[str, Any]


def old_content(
    config: GptConfig,
    vocabulary: int,
    state: Mapping[str, torch.Tensor],
    moments: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    *,
    step: int,
    epoch: int = 0,
    batch_idx: int = 0,
    batch_size: int = 4,
    grad_accumulation: int = 3,
    base_rate: float = 2e-3,
    rate: float = 7e-4,
    samples: int = 114,
    is_latest: bool = True,
) -> Content:
    """Return what the earlier trainer wrote into `latest.pth` or `model_step{N}.pth`."""
    content: Content = {
        "model": OrderedDict(state),
        "optimizer": _optimizer(
            parameter_names(config, vocabulary), moments, step, base_rate, rate
        ),
        "scheduler": {
            "base_lrs": [base_rate],
            "last_epoch": step,
            "_step_count": step + 1,
            "_is_initial": False,
            "_get_lr_called_within_step": False,
            "_last_lr": [rate],
            "lr_lambdas": [{}],
        },
        "scaler": None,
        "epoch": epoch,
        "step": step,
        "batch_idx": batch_idx,
        "recent_checkpoints": [f"/gone/model_step{step}.pth"],
    }
    if is_latest:
        return content | _only_in_latest(samples, batch_size, grad_accumulation)
    return content | _only_in_steps(samples)


def _optimizer(
    names: list[str],
    moments: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    step: int,
    base_rate: float,
    rate: float,
) -> Content:
    kept = {
        index: {
            "step": torch.tensor(float(step)),
            "exp_avg": moments[name][0],
            "exp_avg_sq": moments[name][1],
        }
        for index, name in enumerate(names)
        if name in moments
    }
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=rate, weight_decay=0.01)
    group = optimizer.state_dict()["param_groups"][0]
    group |= {"initial_lr": base_rate, "params": list(range(len(names)))}
    return {"state": kept, "param_groups": [group]}


def _manifests(samples: int) -> Content:
    return {
        "train": [{"path": "/gone/train_pairs.jsonl", "count": samples, "languages": []}],
        "val": [{"path": "/gone/val_pairs.jsonl", "count": 16, "languages": []}],
    }


def _only_in_steps(samples: int) -> Content:
    extra = {"type": "step", "manifests": _manifests(samples), "tokenizer": "/gone/base.model"}
    return {
        "accumulation_counter": 0,
        "extra": extra | {"amp_dtype": "float32"},
        "last_losses": {"text_loss": 3.9, "mel_loss": 4.9, "mel_top1": 0.3},
    }


def _only_in_latest(samples: int, batch_size: int, grad_accumulation: int) -> Content:
    return {
        "manifests": _manifests(samples),
        "rng_state": {
            "torch_cpu": torch.get_rng_state(),
            "torch_cuda": None,
            "numpy": np.random.get_state(),  # noqa: NPY002 -- what such a file holds
            "python": random.getstate(),
        },
        "batch_size": batch_size,
        "grad_accumulation": grad_accumulation,
        "pytorch_version": TorchVersion("2.13.0+cpu"),
        "cuda_version": None,
        "cuda_peak_memory": 0,
    }


def recorded(name: str) -> dict[str, Any]:
    """Return the counters of a recorded file, `legacy/latest.pth` or `legacy_midaccum/latest.pth`."""
    found: dict[str, Any] = continued()["files"][name]
    return found


def continued() -> dict[str, Any]:
    """Return the counters of the recorded files, and how the uninterrupted run went on."""
    found: dict[str, Any] = json.loads((FOLDER / "continued.json").read_text(encoding="utf-8"))
    return found


def recorded_content(name: str = "legacy/latest.pth", *, is_latest: bool = True) -> Content:
    """Return the content of a recorded file, as `latest.pth` or as `model_step{N}.pth` of its step."""
    counters = recorded(name)
    number = f"step{counters['step']}"
    state = {
        **fresh_untrained_encoders(legacy_config(), seed=5),
        **recorded_weights(f"weights_{number}"),
    }
    means, squares = (recorded_weights(f"{kind}_{number}") for kind in ("exp_avg", "exp_avg_sq"))
    return old_content(
        legacy_config(),
        VOCABULARY,
        state,
        {key: (means[key], squares[key]) for key in means},
        step=counters["step"],
        epoch=counters["epoch"],
        batch_idx=counters["batch_idx"],
        batch_size=counters["batch_size"],
        grad_accumulation=counters["grad_accumulation"],
        rate=counters["scheduler_last_lr"][0],
        is_latest=is_latest,
    )


@dataclass(frozen=True)
class OldRuns:
    """The data, the base and the configuration that the recorded runs were trained with."""

    root: Path

    def write(
        self, path: Path, change: Callable[[Content], object] = id, name: str = "legacy/latest.pth"
    ) -> Path:
        """Write a recorded file, in the form that belongs to the name of `path`."""
        content = recorded_content(name, is_latest=path.name == "latest.pth")
        change(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        return path

    def start(self, command: str, *words: object) -> Ended:
        """Run `train` or `rescue` with the flags of the recorded runs."""
        named = {
            "--train-manifest": self.root / "train_pairs.jsonl",
            "--val-manifest": self.root / "val_pairs.jsonl",
            "--tokenizer": FOLDER / "base.model",
            "--config": FOLDER / "config.yaml",
            "--base-checkpoint": self.root / "gpt.pth",
            "--epochs": 4,
            "--warmup-steps": 4,
            "--num-workers": "none",
            "--threads": 1,
            "--log-interval": 1,
            "--val-interval": 100,
        }
        given = {each for each in words if isinstance(each, str) and each.startswith("--")}
        flags = [each for pair in named.items() if pair[0] not in given for each in pair]
        return run_program(command, *words, *flags)


def write_old_runs(root: Path) -> OldRuns:
    """Write the recorded samples as manifests and arrays, and the base as gpt.pth."""
    told = expected()
    with np.load(FOLDER / "samples.npz") as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    texts = np.split(columns["text_ids"], columns["text_lengths"].cumsum()[:-1])
    codes = np.split(columns["codes"], columns["code_lengths"].cumsum()[:-1])
    (root / "features").mkdir(parents=True)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for number, pair in enumerate(told["ids"]):
        prompt = columns["prompts"][number]
        arrays_of_pair = {
            "target_text_ids_path": (f"text_{number}", texts[number].astype(np.int32)),
            "target_codes_path": (f"codes_{number}", codes[number].astype(np.int32)),
            "prompt_condition_path": (f"condition_{prompt}", columns["condition"][prompt]),
            "prompt_emo_vec_path": (f"emo_{prompt}", columns["emo_vec"][prompt]),
        }
        line: dict[str, Any] = {"id": pair}
        for key, (name, array) in arrays_of_pair.items():
            np.save(root / "features" / f"{name}.npy", array)
            line[key] = f"features/{name}.npy"
        line["target_text_len"] = len(texts[number])
        line["target_code_len"] = len(codes[number])
        lines["train" if number < told["train"] else "val"].append(json.dumps(line))
    for split, found in lines.items():
        (root / f"{split}_pairs.jsonl").write_text("\n".join(found) + "\n", encoding="utf-8")
    base = {
        **fresh_untrained_encoders(legacy_config(), seed=5),
        **recorded_weights("weights_base"),
    }
    torch.save(base, root / "gpt.pth")
    return OldRuns(root)
