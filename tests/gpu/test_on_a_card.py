"""What only a card can show: its memory is saved as it was, and training on it resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support.tiny_model import tiny_batch, tiny_model
from support.tiny_trainer import TinyTrainer, journal, newest, require_equal, write_tiny_trainer
from unbroken.state.digest import tensor_digests

DEVICE = "cuda"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="a CUDA device: `pytest -m gpu` runs it where one is"
    ),
]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the small training of the benchmarks be found, and put torch's switches back."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    precision = torch.get_float32_matmul_precision()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision(precision)


def training(directory: Path, **how: Any) -> Any:
    """Return a small training on the card."""
    from gpu_training import TINY, DeviceTraining, How
    from workload import Workload

    return DeviceTraining(Workload(**TINY), directory, How(device=DEVICE, **how))


@pytest.mark.parametrize("overlap", [False, True])
def test_a_save_holds_what_the_card_held(tmp_path: Path, overlap: bool) -> None:
    """Every saved tensor has the digest of the live one at the save, whatever is trained after it."""
    ours = training(tmp_path, precision="bf16", overlap=overlap)
    run = ours.run
    run.resume("")
    steps = ours.steps(100)
    for number in range(3):  # only the first save makes digests of the live tensors by itself
        next(steps)
        next(steps)
        live = tensor_digests(dict(ours.built.model.named_parameters()))
        moments = tensor_digests({
            name: run.optimizers[0].state[each]["exp_avg"]
            for name, each in ours.built.model.named_parameters()
        })  # fmt: skip
        run.save(wait=False)
        next(steps)
        next(steps)
        saver = run._open.saves.saver  # noqa: SLF001  # waits for the save, and begins none
        saver.finish()
        checkpoint = newest(tmp_path)
        assert 4 * number + 2 == checkpoint.position.step
        leaves = checkpoint.manifest.leaves
        assert live == {name: leaves[f"model.{name}"].digest for name in live}
        assert moments == {
            name: leaves[f"optimizer.state.model.{name}.exp_avg"].digest for name in moments
        }
    steps.close()
    run.close()


def test_what_is_copied_to_is_page_locked(tmp_path: Path) -> None:
    """The memory that a save copies into is page-locked, and so are the batches that a loader reads."""
    seen: list[bool] = []

    def look(batch: Any) -> None:
        seen.append(batch.condition.is_pinned() and batch.text_ids.is_pinned())

    ours = training(tmp_path, refuse=look)
    ours.run.resume("")
    for _ in ours.steps(2):
        pass
    ours.run.save()
    assert seen == [True] * 2
    saver = ours.run._open.saves.saver  # noqa: SLF001  # nobody else sees this memory
    images = saver._host.images  # noqa: SLF001  # likewise
    assert {"model.safetensors", "optimizer.safetensors"} <= images.keys()
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert images[name]._memory.is_pinned()  # noqa: SLF001  # likewise
    ours.run.close()


@pytest.mark.timeout(280)
def test_killed_trainings_resume_to_the_same_bits() -> None:
    """After SIGKILL fp32, bf16 and fp16 with a scaler end with the bits of an uninterrupted one."""
    import gpu_resume

    found: dict[str, Any] = {}

    def note(name: str, value: Any, rows: list[tuple[str, str]]) -> None:
        del rows
        found[name] = value

    gpu_resume.kill_and_resume(gpu_resume.CASES, DEVICE, small=True, note=note)
    for name in gpu_resume.CASES:
        assert found[name]["exact"], found[name]
        assert found[name]["repeated"] == 3


def test_the_card_computes_what_the_processor_does() -> None:
    """In fp32 and evaluation mode the losses of a batch agree to a ten-thousandth."""
    torch.set_float32_matmul_precision("highest")
    model, batch = tiny_model().eval(), tiny_batch()
    with torch.no_grad():
        ours = model(batch)
        theirs = model.to(DEVICE)(batch)
    for name in ("text_loss_sum", "mel_loss_sum"):
        assert float(getattr(ours, name)) == pytest.approx(float(getattr(theirs, name)), rel=1e-4)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_trainer_goes_on_exactly(trainer: TinyTrainer, tmp_path: Path, precision: str) -> None:
    """The real command, stopped inside a step and started again, ends with the same bits."""
    flags = ("--device", DEVICE, "--precision", precision, "--max-steps", 10)
    torch.use_deterministic_algorithms(True)
    ended = trainer.start(tmp_path / "whole", *flags)
    assert ended.code == 0, ended.err
    trainer.stop(tmp_path / "stopped", *flags, at=5, samples=3)
    ended = trainer.start(tmp_path / "stopped", *flags)
    assert ended.code == 0, ended.err
    assert "EXACT" in ended.out
    require_equal(tmp_path / "whole", tmp_path / "stopped")
    assert len(journal(tmp_path / "whole")) == 10


def test_memory_that_runs_out_halves_the_micro_batch() -> None:
    """A step that a really full card has no room for is repeated in halves, to their bits."""
    import gpu_memory

    found: dict[str, Any] = {}

    def note(name: str, value: Any, rows: list[tuple[str, str]]) -> None:
        del rows
        found[name] = value

    gpu_memory.measure(DEVICE, small=False, note=note)
    assert found["halved"]["same"]
