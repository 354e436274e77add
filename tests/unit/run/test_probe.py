"""The probe: the same batch for ever, measured without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from unbroken.checkpoint.layout import Layout
from unbroken.run.probe import Probe


def model() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 1))


def probe(net: nn.Module, offset: float = 0.0) -> Probe:
    batch = {"x": torch.arange(12.0).view(4, 3) + offset, "count": torch.tensor([4])}
    return Probe(batch, lambda given: {"loss": net(given["x"]).square().mean()}, [net])


def test_it_is_measured_without_a_trace() -> None:
    """Mode, buffers, gradients and generators are as before, and the losses repeat."""
    net = model()
    before = {name: each.clone() for name, each in net.state_dict().items()}
    generator = torch.get_rng_state()
    first = probe(net).measure()
    torch.rand(3)
    assert first == probe(net).measure()
    torch.set_rng_state(generator)
    probe(net).measure()
    assert torch.equal(generator, torch.get_rng_state())
    assert net.training
    assert all(each.training for each in net)
    assert all(torch.equal(before[name], each) for name, each in net.state_dict().items())
    assert all(each.grad is None for each in net.parameters())


def test_the_batch_of_the_runs_birth_is_used(tmp_path: Path) -> None:
    """Other data later change nothing: the tensors lie beside the run, written once."""
    layout, net = Layout(tmp_path), model()
    born = probe(net)
    born.keep(layout)
    later = probe(net, offset=1.0)
    assert later.measure() != born.measure()
    later.keep(layout)
    later.take_kept(layout)
    assert (born.digest(), born.measure()) == (later.digest(), later.measure())


def test_a_damaged_batch_is_told_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no batch then; the one at hand takes its place once the run goes on."""
    layout = Layout(tmp_path)
    probe(model()).keep(layout)
    content = layout.probe_file.read_bytes()
    layout.probe_file.write_bytes(content[:-1])
    later = probe(model(), offset=1.0)
    later.take_kept(layout)
    assert "probe.safetensors is damaged" in caplog.text
    later.keep(layout)
    again = probe(model())
    again.take_kept(layout)
    assert again.digest() == later.digest()
