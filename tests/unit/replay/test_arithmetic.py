"""What a run computes in follows from its facts and from where its weights lie."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unbroken.replay.arithmetic import Arithmetic, arithmetic_of

HALF = torch.zeros(1, dtype=torch.float16)
FULL = torch.zeros(1)


def facts(
    precision: str = "", products: str = "highest", devices: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the facts of a run that bear on it."""
    told = {"environment": {"matmul_precision": products, "devices": list(devices)}}
    return told | ({"execution": {"precision": precision}} if precision else {})


@pytest.mark.parametrize(
    ("told", "trained", "expected"),
    [
        (facts(), [FULL], "fp32"),
        (facts(), [FULL, HALF], "fp16"),
        (facts("bf16"), [FULL], "bf16"),
        ({"execution": "by hand"}, [FULL], "fp32"),
        ({}, [], "fp32"),
    ],
)
def test_the_fact_decides_and_otherwise_the_weights(
    told: dict[str, Any], trained: list[torch.Tensor], expected: str
) -> None:
    """Autocast leaves the weights in fp32, so only the fact tells of it."""
    assert expected == arithmetic_of(told, trained).precision


@pytest.mark.parametrize("products", ["high", "medium"])
def test_fp32_whose_products_may_use_tf32_is_a_precision_of_its_own(products: str) -> None:
    """TF32 keeps 11 significant bits of 24; bf16 and fp16 are coarse by themselves."""
    assert "tf32" == arithmetic_of(facts("fp32", products), [FULL]).precision
    assert "tf32" == arithmetic_of(facts("", products), [FULL]).precision
    assert "bf16" == arithmetic_of(facts("bf16", products), [FULL]).precision


def test_where_the_weights_lie_decides_and_otherwise_what_the_run_saw() -> None:
    """A run may stay on the processor of a machine with a card; a journal alone can't tell."""
    seen = facts(devices=("NVIDIA H100",))
    assert Arithmetic("fp32", "cpu") == arithmetic_of(seen, [FULL])
    assert Arithmetic("fp32", "meta") == arithmetic_of(seen, [FULL.to("meta")])
    assert Arithmetic("fp32", "cuda") == arithmetic_of(seen)
    assert Arithmetic("fp32", "cpu") == arithmetic_of(facts())
