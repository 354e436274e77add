"""The command `unbroken selftest`: what it prints, and what it refuses."""

from __future__ import annotations

import json

import pytest

from unbroken.cli.main import main


def test_a_fault_is_shown_with_what_it_does_and_how_it_is_met(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line a fault, and a summary; the exit code says that all went well."""
    assert 0 == main(["selftest", "--only", "permuted-tokenizer"])
    header, line, summary = capsys.readouterr().out.splitlines()
    assert header.startswith("fault")
    assert line.startswith("permuted-tokenizer")
    assert line.endswith("check: tokenizer-unchanged")
    assert summary.startswith(
        "1 faults of 1 mechanisms: 1 found, 0 missed; cause named correctly: 100"
    )


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object: the faults with their figures, and the score."""
    assert 0 == main(["selftest", "--only", "not-a-number-in-a-file", "--json"])
    found = json.loads(capsys.readouterr().out)
    (fault,) = found["faults"]
    assert "fell back" == fault["how"]
    assert "inf" == fault["loss"]
    assert 1 == found["score"]["met"] == found["score"]["faults"]


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest one, and exit code 2."""
    assert 2 == main(["selftest", "--only", "permuted-tokeniser"])
    assert "Did you mean permuted-tokenizer?" in capsys.readouterr().err
