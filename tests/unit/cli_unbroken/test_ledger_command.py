"""`unbroken verify --ledger`: what it prints, its exit codes, and journals that nobody wrote so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.written_ledger import WrittenLedger, step_batches
from unbroken.cli.main import main

PROVED = (
    "Proved: in 2 whole epochs each sample was used exactly once. The others have no repeat and no gap "
    "so far."
)
FIXTURES = Path(__file__).parents[2] / "fixtures"


def killed_once() -> WrittenLedger:
    """Return what a run writes that is killed after ten steps, and goes on from the eighth."""
    written, order = WrittenLedger(), step_batches(17, 3)
    written.start(order, 0, 10)
    written.start(order, 8, 6)
    return written


def test_the_table_says_what_is_proved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each epoch with its steps, samples and starts; then one sentence."""
    killed_once().write(tmp_path)
    assert 0 == main(["verify", "--ledger", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: 14 steps by 2 of 2 starts, 2 steps repeated with the same samples",
        "   epoch  steps  samples  of  starts  verdict",
        "       0    1-6       17  17       1  each once",
        "       1   7-12       17  17     1,2  each once",
        "       2  13-14        6   ?       2  no repeat and no gap so far",
        "NOTE: 14 steps are in no checkpoint: nothing was saved at all, so a resume repeats them",
        PROVED,
    ]


def test_a_fault_is_named_and_the_exit_code_is_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its epoch and step, and what can be done."""
    written = killed_once()
    del written.journal[4]
    assert 3 == main(["verify", "--ledger", str(written.write(tmp_path))])
    out = capsys.readouterr().out
    assert "\nGAP, epoch 0, step 5: step 5 has no line in the journal\n" in out
    assert "\nNot exactly once: epoch 0, step 5: step 5 has no line in the journal.\n" in out
    assert "Go on from a checkpoint before it" in out


def test_one_object_a_run_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With everything that the table has, and every fault."""
    written = killed_once()
    whole, broken = str(written.write(tmp_path / "a")), tmp_path / "b"
    written.journal.insert(3, written.journal[2])
    assert 3 == main(["verify", "--ledger", "--json", whole, str(written.write(broken))])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("proved", 0, []) == (first["outcome"], first["exit_code"], first["epochs"][0]["faults"])
    [fault] = second["epochs"][0]["faults"]
    assert ("repeat", 0, 3) == (fault["kind"], fault["epoch"], fault["step"])
    assert 3 == second["exit_code"]


@pytest.mark.parametrize("name", ["golden_checkpoint_v1", "golden_checkpoint_v2"])
def test_a_journal_of_an_earlier_version_is_not_called_proved(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no sums: what was proved is said, and the exit code is 4."""
    assert 4 == main(["verify", "--ledger", str(FIXTURES / name)])
    out = capsys.readouterr().out
    assert "as many as there are, not proved which" in out
    assert "What was proved: no step is missing, none stands twice" in out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has no journal.jsonl: it is not the directory of a run"),
        (b"", "has no line of a step that can be read"),
        (b"\x00\xff\n[1]\n{}\n" + b"[" * 100_000 + b"\n", "has no line of a step that can be read"),
        (b'{"step": 1, "epoch": 0', "has no line of a step that can be read"),
        (b'{"step": true, "epoch": 0, "sample_digest": ""}\n', "has no line of a step"),
        (b'{"step": 1e99, "epoch": -1, "sample_digest": 4}\n', "has no line of a step"),
    ],
)
def test_what_is_no_journal_is_refused(
    tmp_path: Path, content: bytes | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In three sentences, with exit code 4."""
    if content is not None:
        (tmp_path / "journal.jsonl").write_bytes(content)
    assert 4 == main(["verify", "--ledger", str(tmp_path)])
    err = capsys.readouterr().err
    assert said in err
    assert 3 == len(err.strip().splitlines())


def test_a_torn_or_damaged_line_is_told_where_it_matters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line torn by a kill is none yet; one that can't be read leaves a gap, and is named."""
    path = killed_once().write(tmp_path) / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + lines[0][:40])
    assert 0 == main(["verify", "--ledger", str(tmp_path)])
    path.write_bytes(b"".join([*lines[:2], b"\xff" + lines[2], *lines[3:]]))
    assert 3 == main(["verify", "--ledger", str(tmp_path)])
    out = capsys.readouterr().out
    assert "NOTE: line 3 of the journal can't be read, and is left out" in out
    assert "GAP, epoch 0, step 3" in out


def test_without_a_history_the_lines_tell_where_a_start_went_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was used before each start can't be compared then; the sums of the epochs can."""
    killed_once().write(tmp_path)
    (tmp_path / "history.jsonl").unlink()
    assert 0 == main(["verify", "--ledger", str(tmp_path)])
    assert "the history tells nothing of 2 starts (1, 2)" in capsys.readouterr().out


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
FIELDS = ("step", "start", "epoch", "samples", "sample_digest", "sample_sum", "epoch_ended",
          "event", "checks", "put_back", "journal_from", "sum", "batch")  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FIELDS), ANY, st.integers(0, 15), st.booleans())
def test_whatever_a_line_holds_there_is_a_verdict(
    name: str, value: Any, at: int, is_history: bool
) -> None:
    """No content of journal or history is met with an error of the program's own."""
    from tempfile import TemporaryDirectory

    written = killed_once()
    lines = written.history if is_history else written.journal
    lines[at % len(lines)] |= {name: value}
    with TemporaryDirectory() as place:
        assert main(["verify", "--ledger", str(written.write(Path(place)))]) in (0, 3, 4)


def test_names_in_a_journal_can_not_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters of what was accepted are shown as escapes."""
    written = killed_once()
    written.history[2]["checks"] = {"taken": ["\x1b[2J"]}
    main(["verify", "--ledger", str(written.write(tmp_path))])
    assert "\x1b" not in capsys.readouterr().out


def test_a_large_data_set_is_proved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """150,000 samples by 50, two epochs and a kill, within what a test may take."""
    written, order = WrittenLedger(), step_batches(150_000, 50)
    written.start(order, 0, 4_000)
    written.start(order, 3_900, 2_500)
    assert 0 == main(["verify", "--ledger", str(written.write(tmp_path))])
    out = capsys.readouterr().out
    assert "3,001-6,000  150,000  150,000     1,2  each once" in out
    assert "100 steps repeated with the same samples" in out
