"""`unbroken verify --ledger` on runs of real processes that were killed, audited by what they trained."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support import preloaded
from support.tiny_trainer import write_tiny_trainer
from unbroken.cli.main import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

SAMPLES, EPOCHS = 29, 3
PROGRAM = f"""
import json, os, sys, torch
from torch.utils.data import DataLoader, Dataset
import unbroken

die_at = int(sys.argv[1])

class Clips(Dataset):
    def __len__(self):
        return {SAMPLES}
    def __getitem__(self, index):
        return index, torch.randn(3)

torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
loader = DataLoader(Clips(), 4, shuffle=True)
run = unbroken.Run("run", data=loader, model=model, optimizer=optimizer, save_every=3)
with open("trained.jsonl", "a") as trained:
    for epoch in run.epochs({EPOCHS}):
        for clips, x in run.batches():
            step = run.position.step + 1
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            print(json.dumps([step, epoch, clips.tolist()]), file=trained, flush=True)
            if step == die_at:
                os.kill(os.getpid(), {int(signal.SIGKILL)})
run.close()
"""
"""Writes down which clips it trained on, as its data set numbers them."""


def trained(directory: Path) -> dict[int, Counter[int]]:
    """Count the clips of each epoch in what the program wrote; a repeated step counts the last time."""
    lines = [json.loads(each) for each in (directory / "trained.jsonl").read_text().splitlines()]
    last = {step: (epoch, clips) for step, epoch, clips in lines}
    counts: dict[int, Counter[int]] = {}
    for epoch, clips in last.values():
        counts.setdefault(epoch, Counter()).update(clips)
    return counts


def ledger(directory: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    """Return what the command prints as JSON."""
    capsys.readouterr()
    assert code == main(["verify", "--ledger", "--json", str(directory)])
    return json.loads(capsys.readouterr().out)


def test_a_killed_program_used_each_sample_once_and_the_ledger_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed with SIGKILL four times; what it trained was counted by itself."""
    for die_at in (2, 7, 11, 17):
        ended = preloaded.run_code(PROGRAM, str(die_at), cwd=tmp_path)
        assert -signal.SIGKILL == ended.returncode, ended.stderr
        so_far = ledger(tmp_path / "run", capsys)
        assert "proved" == so_far["outcome"]
    assert 0 == preloaded.run_code(PROGRAM, "0", cwd=tmp_path).returncode
    counts = trained(tmp_path)
    assert {epoch: Counter(range(SAMPLES)) for epoch in range(EPOCHS)} == counts
    found = ledger(tmp_path / "run", capsys)
    assert "proved" == found["outcome"]
    assert [SAMPLES] * EPOCHS == [each["samples"] for each in found["epochs"]]
    assert {"each once (0 to N-1, recomputed)"} == {each["verdict"] for each in found["epochs"]}
    assert {2, 3, 4, 5} == {start for each in found["epochs"] for start in each["starts"]}
    assert found["repeated"] > 0


def test_a_step_that_is_taken_out_or_put_in_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the journal of a program that was killed."""
    assert preloaded.run_code(PROGRAM, "13", cwd=tmp_path).returncode == -signal.SIGKILL
    assert 0 == preloaded.run_code(PROGRAM, "0", cwd=tmp_path).returncode
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    places = {json.loads(each)["step"]: i for i, each in enumerate(lines)}
    at = places[19]
    for changed, kind in (
        ([*lines[:at], *lines[at + 1 :]], "gap"),
        ([*lines[:at], lines[at], *lines[at:]], "repeat"),
    ):
        journal.write_text("".join(changed), "utf-8")
        [fault] = [
            fault
            for each in ledger(tmp_path / "run", capsys, 3)["epochs"]
            for fault in each["faults"]
        ]
        assert (kind, 2, 19) == (fault["kind"], fault["epoch"], fault["step"])


def test_the_trainer_killed_inside_steps_used_each_sample_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before an update, inside an accumulation, after a line of the journal, and in a save."""
    trainer = write_tiny_trainer(tmp_path)
    output = tmp_path / "out"
    for event in ("update:4", "micro:9:3", "journal:12", "disk:9"):
        assert -signal.SIGKILL == trainer.run(output, event=event).returncode
    assert 0 == trainer.run(output).returncode
    found = ledger(output, capsys)
    assert "proved" == found["outcome"]
    assert [("each once", 44, 44)] * 4 == [
        (each["verdict"], each["samples"], each["of"]) for each in found["epochs"][:4]
    ]
    assert "no repeat and no gap so far" == found["epochs"][4]["verdict"]
