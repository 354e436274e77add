"""The moments of an old run in our optimiser: by the name of the parameter, never by its number.

The text tables are one tensor in the file and, where base rows are frozen, buffers and a smaller
parameter here: the parameter takes the rows that are its own, and the others need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from unbroken_tts.model.gpt import VoiceGpt
    from unbroken_tts.rescue.whole import Moments

EXTENDED: Final = {
    "text_embedding.extension": "text_embedding.weight",
    "text_head.extension_weight": "text_head.weight",
    "text_head.extension_bias": "text_head.bias",
}
"""Our parameter of the trained rows -> the tensor of the file."""


def load_moments(
    optimizer: torch.optim.Optimizer, model: VoiceGpt, moments: Mapping[str, Moments]
) -> None:
    """Give every parameter of an optimiser the moments that it had in the old run.

    Args:
        optimizer: AdamW over the model's parameters, new.
        model: On its device.
        moments: By name of the tensor in the file.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    plain = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for live, saved in zip(optimizer.param_groups, plain["param_groups"], strict=True):
        for parameter, number in zip(live["params"], saved["params"], strict=True):
            state[number] = _rows_of(names[id(parameter)], moments, model.frozen_rows)
    optimizer.load_state_dict({"state": state, "param_groups": plain["param_groups"]})


def _rows_of(name: str, moments: Mapping[str, Moments], frozen: int) -> dict[str, torch.Tensor]:
    """Return copies: what the file maps must neither be written to nor be kept open."""
    found = moments[EXTENDED.get(name, name)]
    first = frozen if name in EXTENDED else 0
    return {
        "step": found.step.clone(),
        "exp_avg": found.exp_avg[first:].clone(),
        "exp_avg_sq": found.exp_avg_sq[first:].clone(),
    }
