"""Facts: what a run is made of. Files are compared by content, never by path."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unbroken.errors import NotEncodable, SettingsInvalid
from unbroken.state.codec import encode
from unbroken.state.digest import file_digest
from unbroken.state.software import FILES, GROUPS

KERNEL_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
)
"""Variables that choose among kernels whose last bits differ; torch itself tells none of them."""


ENVIRONMENT = "environment"
OWN_FILES = f"{ENVIRONMENT}.{FILES}"
"""Name of the facts that are digests of the user's own files: people edit them."""


class _Absent:
    """Stands for a fact that isn't there; None is a value like any other."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class FactDifference:
    """One fact that is not what it was."""

    name: str
    saved: Any
    live: Any

    @property
    def is_new(self) -> bool:
        """Whether nothing was saved of this fact, as by an earlier version that knew fewer."""
        return self.saved is ABSENT

    def __str__(self) -> str:
        """Say what it is and what it was."""
        return f"{self.name} is {self.live!r}, was {self.saved!r}"


def settled(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts with every path replaced by the digest of the file's content.

    Raises:
        SettingsInvalid: A file can't be read.
        NotEncodable: A fact has no faithful form; a tensor is none.
    """
    found = {str(name): _settle(str(name), each) for name, each in facts.items()}
    for name, each in found.items():
        tensors: dict[str, torch.Tensor] = {}
        encode(each, name, tensors)
        if tensors:
            raise NotEncodable(
                f"The fact {next(iter(tensors))} is a tensor, or an array as large as one.",
                "Facts are compared and shown; tensors are state.",
                "Give its digest, or declare the object that owns it as a part.",
            )
    return found


def _settle(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _settle(f"{name}.{key}", each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_settle(f"{name}.{i}", each) for i, each in enumerate(value))
    if not isinstance(value, Path):
        return value
    try:
        return "xxh3:" + file_digest(value)
    except OSError as error:
        raise SettingsInvalid(
            f"{value}, the fact {name!r} of this run, can't be read: {error}.",
            "A run is compared by the content of its files when it is resumed.",
            "Check the path.",
        ) from error


def differences(
    saved: Mapping[str, Any], live: Mapping[str, Any], path: str = ""
) -> list[FactDifference]:
    """Return every fact that was added, removed or changed, by dotted name.

    Values are compared in their encoded form: `1`, `1.0` and `True` differ, NaN is itself.
    """
    found: list[FactDifference] = []
    for key in sorted(saved.keys() | live.keys()):
        name = f"{path}.{key}" if path else key
        a, b = saved.get(key, ABSENT), live.get(key, ABSENT)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found.extend(differences(a, b, name))
        elif a is ABSENT or b is ABSENT or repr(encode(a, name, {})) != repr(encode(b, name, {})):
            found.append(FactDifference(name, a, b))
    return found


def told_then(saved: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """Return the live facts without those that the version which saved did not write yet."""
    was, now = saved.get(ENVIRONMENT), live.get(ENVIRONMENT)
    if not isinstance(was, Mapping) or not isinstance(now, Mapping):
        return dict(live)
    kept = {name: each for name, each in now.items() if name in was or name not in GROUPS}
    return {**live, ENVIRONMENT: kept}


def seed_of(facts: Mapping[str, Any]) -> int | None:
    """Return the seed of a run: its own, or else its order's; None where its facts tell none."""
    order = facts.get("order", {})
    seed = order.get("run_seed", order.get("seed"))
    return seed if type(seed) is int else None


def environment() -> dict[str, Any]:
    """Return the facts of this process that may change, and whose change is named at a resume."""
    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if cuda
        else [],
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        **_kernels(),
    }


def _kernels() -> dict[str, str]:
    """Return what the process's variables say of the kernels; nothing where they say nothing."""
    told = [f"{name}={os.environ[name]}" for name in KERNEL_VARIABLES if os.environ.get(name)]
    return {"kernels": " ".join(told)} if told else {}


def _processor() -> str:
    """Return the processor's name and the instructions torch uses: they decide the last bits."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name} {torch.backends.cpu.get_cpu_capability()}".strip()
