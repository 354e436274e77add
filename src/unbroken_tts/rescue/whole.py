"""Is a file of the earlier trainer whole? Every byte is read, every shape and value looked at."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unbroken import SettingsInvalid, counted
from unbroken_tts.model.base import BaseWeights, base_weights, check_base
from unbroken_tts.model.gpt_file import gpt_file_shapes, is_trained
from unbroken_tts.rescue.old_checkpoint import OldCheckpoint, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unbroken_tts.model.config import GptConfig

OPTIONS = {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False, "maximize": False}
"""Options of AdamW that the earlier trainer never set, and this one doesn't either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What AdamW keeps for one tensor of the file."""

    step: torch.Tensor
    """() float32: updates of the tensor."""
    exp_avg: torch.Tensor
    """Float32, the shape of the tensor: mean of the gradients."""
    exp_avg_sq: torch.Tensor
    """Float32, the shape of the tensor: mean of their squares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeCheckpoint:
    """A file that was read completely, and fits the configuration and the tokenizer."""

    old: OldCheckpoint
    weights: BaseWeights
    moments: Mapping[str, Moments]
    """By name of the tensor in the file."""


def require_whole(old: OldCheckpoint, config: GptConfig, vocabulary: int) -> WholeCheckpoint:
    """Read a file completely, and find its moments by the names of their parameters.

    Args:
        old: The file.
        config: Of the model.
        vocabulary: Pieces of the tokenizer.

    Raises:
        DataInvalid: A byte is damaged, a tensor has another shape, a value is not finite, or moments
            are missing.
        SettingsInvalid: It belongs to another configuration or another tokenizer.
    """
    require_readable(old.path)
    weights = base_weights(dict(old.model), origin=str(old.path))
    config = weights.config_for(config)
    check_base(weights, config, vocabulary)
    if weights.vocabulary != vocabulary:
        raise SettingsInvalid(
            f"{old.path} has {weights.vocabulary} text tokens, the tokenizer {vocabulary}.",
            "The text tables have one row per piece, so the file belongs to another tokenizer.",
            "Use the tokenizer of the old run. For a larger one, begin a new run from its weights: "
            f"--init-from {old.path} (without --resume).",
        )
    _require_options(old)
    moments = _moments(old, config, vocabulary)
    _require_finite(old, weights, moments)
    return WholeCheckpoint(old=old, weights=weights, moments=moments)


def require_readable(path: Path) -> None:
    """Read every byte of an archive and compare it with the checksums in it.

    Raises:
        DataInvalid: One differs, or the archive is compressed, which PyTorch's never is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                raise refusal(path, "is compressed, which files of PyTorch never are")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise refusal(path, f"can't be read completely ({error})") from error
    if damaged is not None:
        raise refusal(path, f"is damaged: {damaged} in it differs from its checksum")


def parameter_names(config: GptConfig, vocabulary: int) -> list[str]:
    """Return the names of the parameters in the order in which the optimiser numbers them.

    It is the order of the file without its two buffers, the sin/cos tables.
    """
    return [name for name in gpt_file_shapes(config, vocabulary) if not name.endswith(".pe")]


def _require_options(old: OldCheckpoint) -> None:
    other = [
        f"{name} {old.options[name]}, not {usual}"
        for name, usual in OPTIONS.items()
        if name in old.options and _written(old.options[name]) != _written(usual)
    ]
    if other:
        raise refusal(old.path, f"was trained by AdamW with {'; '.join(other)}")


def _written(value: Any) -> str:
    """Return a value as text: whatever a file holds can be compared in it."""
    return repr(list(value) if isinstance(value, tuple) else value)


def _moments(old: OldCheckpoint, config: GptConfig, vocabulary: int) -> dict[str, Moments]:
    shapes, names = gpt_file_shapes(config, vocabulary), parameter_names(config, vocabulary)
    surplus = [index for index in old.moments if not 0 <= index < len(names)]
    if surplus:
        raise refusal(
            old.path, f"has moments of parameter {surplus[0]}, but the model has {len(names)}"
        )
    found = {names[index]: each for index, each in old.moments.items()}
    missing = [name for name in names if is_trained(name) and name not in found]
    if missing:
        raise refusal(
            old.path, f"has no moments of {missing[0]}{_and_more(missing)}, which was trained"
        )
    return {
        name: _checked(old, name, each, shapes[name])
        for name, each in found.items()
        if is_trained(name)
    }


def _checked(
    old: OldCheckpoint, name: str, state: Mapping[str, Any], shape: tuple[int, ...]
) -> Moments:
    values = [state.get(key) for key in ("step", "exp_avg", "exp_avg_sq")]
    step, mean, square = (each if isinstance(each, torch.Tensor) else None for each in values)
    if step is None or mean is None or square is None or not _is_number(step):
        raise refusal(old.path, f"has incomplete moments of {name}")
    for kind, each in (("exp_avg", mean), ("exp_avg_sq", square)):
        is_plain = each.is_floating_point() and each.layout == torch.strided
        if tuple(each.shape) != shape or not is_plain:
            raise refusal(
                old.path,
                f"has {kind} {list(each.shape)} of {name}, which is {list(shape)}",
            )
    return Moments(
        step=step.detach().float().reshape(()), exp_avg=mean.float(), exp_avg_sq=square.float()
    )


def _is_number(tensor: torch.Tensor) -> bool:
    return tensor.numel() == 1 and tensor.layout == torch.strided and not tensor.is_complex()


def _require_finite(
    old: OldCheckpoint, weights: BaseWeights, moments: Mapping[str, Moments]
) -> None:
    tensors = {**weights.trained, **weights.untrained_encoders}
    odd = [name for name, each in tensors.items() if not torch.isfinite(each).all()]
    if odd:
        raise refusal(old.path, f"has {counted(len(odd), 'tensor')} with NaN or infinity: {odd[0]}")
    bad = [
        name
        for name, each in moments.items()
        if not torch.isfinite(each.exp_avg).all()
        or not torch.isfinite(each.exp_avg_sq).all()
        or bool((each.exp_avg_sq < 0).any())
        or not 0 < each.step.item() <= old.step
    ]
    if bad:
        raise refusal(
            old.path, f"has impossible moments of {counted(len(bad), 'tensor')}: {bad[0]}"
        )


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
