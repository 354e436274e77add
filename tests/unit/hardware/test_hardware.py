"""The auto-tuning table, row by row, and what follows from it."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.errors import SettingsInvalid
from unbroken_tts import hardware
from unbroken_tts.hardware import Hardware, batch_row, plan_batch, plan_precision, plan_workers

Asked = Literal["auto", "fp32", "bf16", "fp16"]


def card(memory_gib: float, *, cores: int = 32, bf16: bool = True) -> Hardware:
    return Hardware(
        device="cuda:0",
        name="a card",
        memory_gib=memory_gib,
        cores=cores,
        has_bf16=bf16,
        has_tf32=bf16,
    )


def processor(cores: int = 2) -> Hardware:
    return Hardware(
        device="cpu", name="a CPU", memory_gib=24.0, cores=cores, has_bf16=True, has_tf32=False
    )


@pytest.mark.parametrize(
    ("memory_gib", "expected"),
    [
        (141.0, (64, 1)),
        (80.0, (64, 1)),
        (75.0, (64, 1)),
        (74.9, (16, 2)),
        (40.0, (16, 2)),
        (24.0, (8, 4)),
        (16.0, (6, 6)),
        (12.0, (4, 8)),
        (8.0, (2, 16)),
        (6.0, (1, 32)),
        (0.5, (1, 32)),
    ],
)
def test_every_row_of_the_table(memory_gib: float, expected: tuple[int, int]) -> None:
    """The memory on the label decides batch and accumulation."""
    row = batch_row(card(memory_gib))
    assert expected == (row.batch, row.accumulation)


@pytest.mark.parametrize(
    ("label", "memory_gib", "expected"),
    [
        ("A100 80 GB", 79.2, (64, 1)),
        ("H100 80 GB", 79.1, (64, 1)),
        ("RTX 6000 Ada 48 GB", 47.4, (16, 2)),
        ("L40S 48 GB", 44.4, (16, 2)),
        ("A100 40 GB", 39.4, (16, 2)),
        ("V100 32 GB", 31.7, (8, 4)),
        ("RTX 4090 24 GB", 23.6, (8, 4)),
        ("L4 24 GB", 22.5, (8, 4)),
        ("L4 24 GB", 22.0, (8, 4)),
        ("A10G 24 GB", 21.98, (8, 4)),
        ("RTX A4500 20 GB", 19.7, (6, 6)),
        ("V100 16 GB", 15.77, (6, 6)),
        ("T4 16 GB", 14.56, (6, 6)),
        ("RTX 3060 12 GB", 11.75, (4, 8)),
        ("GTX 1080 Ti 11 GB", 10.91, (2, 16)),
        ("RTX 3070 8 GB", 7.78, (2, 16)),
        ("RTX 2060 6 GB", 5.8, (1, 32)),
    ],
)
def test_a_card_that_reports_less_than_its_label_keeps_its_row(
    label: str, memory_gib: float, expected: tuple[int, int]
) -> None:
    """The margin covers what real cards report, and no smaller label slips up a row."""
    row = batch_row(card(memory_gib))
    assert (label, expected) == (label, (row.batch, row.accumulation))


def test_the_processor_has_its_own_row() -> None:
    """Without a card it is 1 x 32, however much main memory there is."""
    plan = plan_batch(processor())
    assert (1, 32, 32) == (plan.batch, plan.accumulation, plan.effective)


def test_the_three_lines_read_as_users_know_them() -> None:
    """An A100 prints the lines the guide shows, letter by letter."""
    assert [
        "Batch size: 64 (auto-detected)",
        "Grad accumulation: 1 (auto-detected)",
        "Effective batch: 64",
    ] == plan_batch(card(79.2)).lines()


@pytest.mark.parametrize(
    ("device", "batch", "accumulation", "expected"),
    [
        (card(22.0), 4, 0, (4, 8, 32)),
        (card(22.0), 64, 0, (64, 1, 64)),
        (card(79.2), 8, 0, (8, 8, 64)),
        (card(22.0), 0, 8, (4, 8, 32)),
        (card(22.0), 0, 1, (8, 1, 8)),  # 32 at once don't fit into the card
        (processor(), 0, 4, (8, 4, 32)),
        (processor(), 4, 3, (4, 3, 12)),
        (card(79.2), 0, 1000, (1, 1000, 1000)),
    ],
)
def test_one_figure_given_the_other_follows(
    device: Hardware, batch: int, accumulation: int, expected: tuple[int, int, int]
) -> None:
    """The effective batch stays near the table's, within what the card's memory holds."""
    plan = plan_batch(device, batch=batch, accumulation=accumulation)
    assert expected == (plan.batch, plan.accumulation, plan.effective)


def test_the_lines_say_which_figure_was_derived() -> None:
    """A derived figure is not sold as detected."""
    assert [
        "Batch size: 4 (--batch-size)",
        "Grad accumulation: 8 (from --batch-size, for an effective batch near 32)",
        "Effective batch: 32",
    ] == plan_batch(card(22.0), batch=4).lines()


@given(
    memory=st.floats(0.0, 200.0),
    batch=st.integers(0, 300),
    accumulation=st.integers(0, 300),
    effective=st.integers(1, 300),
)
def test_a_run_keeps_its_effective_batch_on_every_machine(
    memory: float, batch: int, accumulation: int, effective: int
) -> None:
    """Only the cut changes: the micro-batches hold exactly the step, none of them empty."""
    plan = plan_batch(card(memory), batch=batch, accumulation=accumulation, effective=effective)
    assert effective == plan.effective
    assert 0 <= plan.batch * plan.accumulation - plan.effective < plan.batch


@pytest.mark.parametrize(
    ("device", "wanted", "expected"),
    [
        (card(79.2, cores=64), 0, 24),
        (card(79.2, cores=12), 0, 12),
        (card(39.4, cores=64), 0, 16),
        (card(39.4, cores=12), 0, 12),
        (card(22.0, cores=2), 0, 4),
        (processor(1), 0, 1),
        (processor(2), 0, 1),
        (processor(6), 0, 3),
        (processor(64), 0, 4),
        (processor(64), 7, 7),
        (processor(64), "none", 0),
        (card(79.2), "none", 0),
    ],
)
def test_the_number_of_workers(device: Hardware, wanted: int, expected: int) -> None:
    """An A100 80 GB gets its 24 workers; `none` means no worker at all."""
    assert expected == plan_workers(device, wanted)


@pytest.mark.parametrize(
    ("device", "precision", "amp", "expected"),
    [
        (card(79.2), "auto", None, "bf16"),
        (card(79.2), "auto", True, "bf16"),
        (card(79.2), "auto", False, "fp32"),
        (card(14.6, bf16=False), "auto", True, "fp16"),
        (card(79.2), "fp16", True, "fp16"),
        (card(79.2), "fp32", True, "fp32"),
        (processor(), "auto", None, "fp32"),
        (processor(), "auto", True, "fp32"),
        (processor(), "bf16", None, "bf16"),
    ],
)
def test_the_precision(device: Hardware, precision: Asked, amp: bool | None, expected: str) -> None:
    """With a card bfloat16 or else float16; on a processor bfloat16 only by name."""
    plan = plan_precision(device, precision=precision, amp=amp)
    assert expected == plan.precision
    assert (expected == "fp16") == plan.has_scaler


@pytest.mark.parametrize(
    ("device", "precision"), [(processor(), "fp16"), (card(14.6, bf16=False), "bf16")]
)
def test_a_precision_the_device_has_not_is_refused(device: Hardware, precision: Asked) -> None:
    """The message names the flag and the device; the exit code is 2."""
    with pytest.raises(SettingsInvalid, match="--precision") as caught:
        plan_precision(device, precision=precision)
    assert 2 == caught.value.exit_code


def test_this_machine_is_described() -> None:
    """Detection works here, and its report has a line for everything it decided."""
    found = hardware.detect("cpu")
    precision = plan_precision(found)
    lines = hardware.report_lines(found, plan_batch(found), precision, workers=1, threads=1)
    assert [
        "Device",
        "Memory",
        "CPU cores",
        "Precision",
        "TF32",
        "Batch size",
        "Grad accumulation",
        "Effective batch",
        "Workers",
    ] == [line.split(":")[0] for line in lines]
    assert found.memory_gib > 0
    assert found.cores >= 1


def test_a_card_that_is_not_there_is_refused() -> None:
    """A device number beyond the cards of the machine is an error of the command."""
    with pytest.raises(SettingsInvalid, match="cuda:99"):
        hardware.detect("cuda:99")


@pytest.mark.gpu
@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="needs a CUDA device")
def test_a_real_card_is_described() -> None:
    """The first card is found, with its memory, and gets a row of the table."""
    found = hardware.detect()
    assert found.is_cuda
    assert found.memory_gib > 1
    assert plan_batch(found).effective >= 32


def test_a_resumed_run_says_what_the_gpu_could_take() -> None:
    """It keeps its effective batch; that a larger GPU could take more in a step is no secret."""
    lines = plan_batch(card(79.2), effective=32).lines()
    assert "Effective batch: 32 (this GPU would take 64 x 1; the run keeps 32)" == lines[-1]
    assert "Effective batch: 32" == plan_batch(card(22.0), effective=32).lines()[-1]
    assert "Effective batch: 32" == plan_batch(processor(), effective=32).lines()[-1]
    asked = plan_batch(card(79.2), batch=8, accumulation=2, effective=16)
    assert "Effective batch: 16" == asked.lines()[-1]
