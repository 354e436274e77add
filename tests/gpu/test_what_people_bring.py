"""What people train on a card goes on from a checkpoint as if it had never stopped: all bits, all places."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from support.optimizer_catalogue import trials_of
from support.optimizer_trial import differing, exact_in_one_process
from unbroken.replay.replay import ReplayOutcome
from unbroken.tree import map_leaves

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="a CUDA device: `pytest -m gpu` runs it where one is"
    ),
]

STEPS, SAVED_AFTER, LEFT_AFTER, SAMPLES = 8, 3, 5, 64


@dataclass(slots=True, kw_only=True)
class Program:
    """A training as somebody may write it."""

    model: nn.Module
    loss: Callable[[torch.Tensor], torch.Tensor]
    """Of images, (B, 3, 8, 8) on the card."""
    optimizer: torch.optim.Optimizer
    parts: dict[str, Any] = field(default_factory=dict)
    after: Callable[[], None] = lambda: None
    """What the loop does when the step is made."""
    given: dict[str, Any] = field(default_factory=dict)
    """More that `Run` is given by its own names."""


class Averages:
    """Weights averaged while training: a shadow of plain tensors, where the model is."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.shadow = {name: each.detach().clone() for name, each in model.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow by a tenth."""
        for name, each in self.model.named_parameters():
            self.shadow[name].lerp_(each, 0.1)

    def state_dict(self) -> dict[str, Any]:
        """Return the shadow."""
        return {"shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the tensors as they come, as most loops do."""
        self.shadow = state["shadow"]


def network(**how: Any) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(8 * 36, 10),
    )  # fmt: skip
    return made.to("cuda", **how)


def plain_loss(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def loss(images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(images)
        return found.square().mean()

    return loss


def averaged() -> Program:
    """An average of the weights of the program's own, handed over as a part."""
    model = network()
    ema = Averages(model)
    return Program(
        model=model,
        loss=plain_loss(model),
        optimizer=torch.optim.NAdam(model.parameters(), lr=1e-2),
        parts={"ema": ema},
        after=ema.update,
    )


def scaled() -> Program:
    """fp16 with PyTorch's scaler, in channels-last memory."""
    model = network(memory_format=torch.channels_last)

    def loss(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cuda", torch.float16):
            found: torch.Tensor = model(images.to(memory_format=torch.channels_last)).float()
        return found.square().mean()

    return Program(
        model=model,
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True),
        given={"scaler": torch.amp.GradScaler("cuda", init_scale=2.0**30)},
    )


def noisy() -> Program:
    """Noise from a generator on the card that the program owns."""
    model = network()
    generator = torch.Generator("cuda").manual_seed(5)

    def loss(images: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(images.shape, generator=generator, device="cuda")
        noise += torch.rand((), device="cuda")  # and one number of the global one
        found: torch.Tensor = model(images + 0.1 * noise)
        return found.square().mean()

    return Program(
        model=model,
        loss=loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9),
        parts={"noise": generator},
    )


def compiled() -> Program:
    """A compiled model, and a rate that is a tensor on the card."""
    model = network()
    rate = torch.tensor(1e-2, device="cuda")
    fast: Any = torch.compile(model)
    return Program(
        model=fast,
        loss=plain_loss(fast),
        optimizer=torch.optim.Adam(model.parameters(), lr=rate, capturable=True),
    )


PROGRAMS = [averaged, scaled, noisy, compiled]


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let torch use only algorithms that give the same bits each time."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def train(make: Callable[[], Program], directory: Path, *, save: int = 0, last: int = STEPS) -> Any:
    """Begin or go on, and leave the loop; return the run, closed, and a copy of what it held."""
    program = make()
    draw = torch.Generator("cpu").manual_seed(1)
    images = torch.randn(SAMPLES, 3, 8, 8, generator=draw, device="cpu")
    order = unbroken.StepBatches([f"s{i}" for i in range(SAMPLES)], None, 8, 1)
    run = unbroken.Run(
        directory,
        order=order,
        model=program.model,
        optimizer=program.optimizer,
        save_every=0,
        **program.given,
        **program.parts,
    )
    run.resume("auto")
    for step in run.steps(STEPS + 1):
        for micro in step.micro_batches(4):
            step.backward(program.loss(images[list(micro.indices)].to("cuda")) / 2)
        step.update(clip_norm=1.0)
        program.after()
        if step.number == save:
            run.save()
        if step.number == last:
            break
    held = {
        name: map_leaves(each, lambda _, one: one.clone() if torch.is_tensor(one) else one)
        for name, each in run.state.capture().items()
    }
    run.close()
    return run, held


@pytest.mark.parametrize("make", PROGRAMS)
@pytest.mark.parametrize("is_default", [False, True], ids=["", "default device"])
def test_goes_on_to_the_last_bit(
    make: Callable[[], Program], is_default: bool, tmp_path: Path
) -> None:
    """Also where the program made the card torch's default device."""
    with (
        redirect_stdout(StringIO()),
        warnings.catch_warnings(),
        torch.device("cuda") if is_default else nullcontext(),
    ):
        warnings.simplefilter("ignore")
        _, whole = train(make, tmp_path / "whole")
        train(make, tmp_path / "left", save=SAVED_AFTER, last=LEFT_AFTER)
        run, resumed = train(make, tmp_path / "left")
    assert [] == differing(whole, resumed)  # devices included
    assert run.monitor.verdict is not None
    assert run.monitor.verdict.outcome is ReplayOutcome.EXACT


@pytest.mark.parametrize("package", ["torch", "pytorch_optimizer", "bitsandbytes", "schedulefree"])
def test_every_optimizer_goes_on(package: str, tmp_path: Path) -> None:
    """Each that trains on a card ends with the same bits, in the same places."""
    found = {}
    for trial in trials_of(package, "cuda"):
        try:
            if differs := exact_in_one_process(trial, tmp_path / trial.name):
                found[trial.name] = f"differs in {', '.join(differs)}"
        except Exception as error:  # noqa: BLE001  # each is told, by name
            found[trial.name] = f"{type(error).__name__}: {error}"
    assert {} == found


def test_a_run_moves_from_a_card_to_a_processor_and_back(tmp_path: Path) -> None:
    """What lay on the card lies where the next start trains; nothing is left behind."""
    places: list[set[str]] = []

    def on(device: str) -> Callable[[], Program]:
        def make() -> Program:
            program = averaged()
            program.model.to(device)
            ema = program.parts["ema"]
            ema.shadow = {name: each.to(device) for name, each in ema.shadow.items()}
            program.optimizer = torch.optim.Adam(program.model.parameters(), lr=1e-2)
            program.loss = lambda images: program.model(images.to(device)).square().mean()
            return program

        return make

    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for until, device in ((2, "cuda"), (4, "cpu"), (6, "cuda")):
            _, held = train(on(device), tmp_path, save=until, last=until)
            moments = held["optimizer"]["state"].values()
            places.append({str(each["exp_avg"].device) for each in moments})
            places[-1] |= {str(each.device) for each in held["ema"]["shadow"].values()}
    assert places == [{"cuda:0"}, {"cpu"}, {"cuda:0"}]
