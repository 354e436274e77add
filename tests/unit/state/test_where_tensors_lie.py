"""A restored tensor lies where it lay: on the host, or on the device of what is trained.

PyTorch's `meta` device stands for the card: a tensor there has a place and no content.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unbroken.checkpoint.tensor_file import open_tensors, write_tensors
from unbroken.state.optimizers import OptimizerPart
from unbroken.state.stored import home

HOST, CARD = torch.device("cpu"), torch.device("meta")


def on_a_card(optimizer_type: Any, **options: Any) -> tuple[Any, OptimizerPart, torch.Tensor]:
    """Return an optimiser of one parameter on the card, as a part."""
    weight = torch.nn.Parameter(torch.empty(3, 2, device=CARD))
    optimizer = optimizer_type([weight], lr=0.1, **options)
    return optimizer, OptimizerPart("optimizer", optimizer, {"model.w": weight}), weight


def stored(file: Path, tensors: dict[str, torch.Tensor], device: torch.device | None) -> Any:
    """Return tensors as a checkpoint has them, which lay on a device."""
    write_tensors(file, tensors)
    lay = None if device is None else str(device)
    return {name: replace(each, device=lay) for name, each in open_tensors(file).items()}


def saved(part: OptimizerPart, state: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return the saved form of an optimiser with this state for its parameter."""
    form = part.capture()
    groups = [{**form["groups"][0], **options}]
    return {**form, "groups": groups, "state": {"model.w": state}}


def test_a_number_on_the_host_stays_there(tmp_path: Path) -> None:
    """NAdam keeps one beside its counter; PyTorch's own load would move it to the card."""
    optimizer, part, weight = on_a_card(torch.optim.NAdam)
    numbers = {"step": torch.tensor(3.0), "mu_product": torch.tensor(0.5)}
    moments = {"exp_avg": torch.ones(3, 2), "exp_avg_sq": torch.ones(3, 2)}
    part.restore(
        saved(
            part,
            {
                **stored(tmp_path / "numbers", numbers, HOST),
                **stored(tmp_path / "moments", moments, CARD),
            },
        )
    )
    held = optimizer.state[weight]
    assert {name: each.device for name, each in held.items()} == {
        "step": HOST, "mu_product": HOST, "exp_avg": CARD, "exp_avg_sq": CARD,
    }  # fmt: skip


def test_a_counter_on_the_card_stays_there(tmp_path: Path) -> None:
    """ASGD counts on the card, fused or not."""
    optimizer, part, weight = on_a_card(torch.optim.ASGD)
    counters = {"step": torch.tensor(3.0), "eta": torch.tensor(0.1), "mu": torch.tensor(1.0)}
    part.restore(saved(part, stored(tmp_path / "counters", counters, CARD)))
    assert {CARD} == {each.device for each in optimizer.state[weight].values()}


def test_a_fused_kernel_gets_its_counter_on_the_card(tmp_path: Path) -> None:
    """Also where the run counted on the host until now: the code has switched to `capturable`."""
    optimizer, part, weight = on_a_card(torch.optim.Adam, capturable=True)
    part.restore(saved(part, stored(tmp_path / "step", {"step": torch.tensor(3.0)}, HOST)))
    assert optimizer.state[weight]["step"].device == CARD


def test_a_groups_tensor_lies_where_it_lay(tmp_path: Path) -> None:
    """D-Adaptation keeps its sums in its groups, on the card; a tensor rate lies on the host."""
    optimizer, part, _ = on_a_card(torch.optim.SGD)
    sums = stored(tmp_path / "sums", {"weighted": torch.tensor([2.0])}, CARD)
    rate = stored(tmp_path / "rate", {"rate": torch.tensor(0.1)}, HOST)
    part.restore(saved(part, {}, **sums, **rate))
    group = optimizer.param_groups[0]
    assert (CARD, HOST) == (group["weighted"].device, group["rate"].device)


def test_where_nothing_tells_tensors_go_to_the_parameters(tmp_path: Path) -> None:
    """A run that began on a processor goes on on a card: counters and numbers stay on the host."""
    optimizer, part, weight = on_a_card(torch.optim.Adam)
    state = {"step": torch.tensor(3.0), "exp_avg": torch.ones(3, 2)}
    more = stored(tmp_path / "more", {"sums": torch.ones(2), "number": torch.tensor(1.0)}, None)
    part.restore(saved(part, stored(tmp_path / "state", state, None), **more))
    held, group = optimizer.state[weight], optimizer.param_groups[0]
    assert (HOST, CARD) == (held["step"].device, held["exp_avg"].device)
    assert (CARD, HOST) == (group["sums"].device, group["number"].device)


@pytest.mark.parametrize(
    ("lay", "trained_on", "belongs"),
    [
        (None, "cuda:0", "cpu"),
        ("cpu", "cuda:0", "cpu"),
        ("cuda:0", "cpu", "cpu"),
        ("cuda:3", "cpu", "cpu"),
        ("cuda:0", "xpu:1", "xpu:1"),
        ("meta", "meta", "meta"),
        ("npu:0", "cpu", "cpu"),
        ("npu:0", "cuda:0", "cuda:0"),
    ],
)
def test_a_saved_place_is_one_of_this_start(lay: str | None, trained_on: str, belongs: str) -> None:
    """What lay on a card belongs onto the device that trains now, also where that is a processor."""
    found = home(lay, torch.device(trained_on))
    assert found == torch.device(belongs)
