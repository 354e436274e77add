"""The `unbroken` program: verify, inspect, diff, prune, pin; on real checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from support.toy_training import build, train
from unbroken.checkpoint.difference import difference
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.lock import WriterLock
from unbroken.checkpoint.read import Checkpoint
from unbroken.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with three checkpoints."""
    directory = tmp_path_factory.mktemp("whole")
    training = build(directory, save_every=2, keep=9)
    train(training, 6)
    training.run.close()
    return directory


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Layout:
    """A copy that a test may spoil."""
    shutil.copytree(whole, tmp_path / "run")
    return Layout(tmp_path / "run")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def listed(layout: Layout) -> list[str]:
    return sorted(each.name for each in layout.checkpoints.iterdir())


def call(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_program_answers_as_a_process(run: Layout) -> None:
    """Help without torch, usage errors in three sentences, and the module as a program."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    code = (
        "import sys; from unbroken.cli.main import main\n"
        "try: main(['verify', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    help_ = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == help_.returncode
    assert "PATH" in help_.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "unbroken.cli.main", "inspekt", str(run.root)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 2 == wrong.returncode
    assert "Did you mean inspect?" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command that is listed is there, with examples."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert 0 == ended.value.code
    assert f"unbroken {name} " in capsys.readouterr().out


def test_verify_reads_a_whole_run(run: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """All whole: exit code 0 and a line each."""
    assert 0 == call("verify", run.root)
    assert ["whole"] * 3 == [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert 0 == call("verify", run.checkpoints / "step-00000002", run.checkpoints)


@pytest.mark.parametrize(
    "file", ["model.safetensors", "optimizer.safetensors", "state.json", "facts.json",
             "evidence.json", "manifest.json"],
)  # fmt: skip
def test_verify_finds_damage_and_moves_nothing(
    run: Layout, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    """One bit in one file: exit code 4, the file is named, everything stays."""
    flip(run.checkpoints / "step-00000004" / file)
    assert 4 == call("verify", "--json", run.root)
    out, err = capsys.readouterr()
    said = [json.loads(line) for line in out.splitlines()]
    assert ["whole", "damaged", "whole"] == [each["outcome"] for each in said]
    assert ("manifest" if file == "manifest.json" else file) in said[1]["why"]
    assert "1 of 3 checkpoints are damaged" in err
    assert 3 == len(listed(run))
    assert not run.quarantine.exists()


def test_verify_names_the_damaged_tensor(run: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """The first damaged tensor of the file and how many more; the header where it is that."""
    place = run.checkpoints / "step-00000004"
    manifest = Checkpoint.at(place).manifest
    head, first, second, *_ = manifest.segments["model.safetensors"]
    whole = (place / "model.safetensors").read_bytes()
    said = "the bytes of {} in model.safetensors are not the ones that were saved{}."
    for at, what, others in (
        ([second.begin], second.leaf, ""),
        ([second.begin, first.end - 1], first.leaf, ", nor those of 1 more"),
        ([head.end - 1], "the header", ""),
    ):
        content = bytearray(whole)
        for each in at:
            content[each] ^= 1
        (place / "model.safetensors").write_bytes(content)
        assert 4 == call("verify", place)
        assert said.format(what, others) in capsys.readouterr().out


def test_verify_sends_nobody_to_a_whole_one_that_is_not_there(
    run: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where some are whole, a resume goes on with one; where none is, it would be refused."""
    first, *others = sorted(run.checkpoints.glob("step-*"))
    (first / "model.safetensors").write_bytes(b"")
    assert 4 == call("verify", run.root)
    assert 'Resume with "auto"' in capsys.readouterr().err
    for each in others:
        (each / "model.safetensors").write_bytes(b"")
    assert 4 == call("verify", run.root)
    assert 'Resume with "auto"' not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_nothing_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """A path without checkpoints is exit code 4 and three sentences."""
    for path in (tmp_path, tmp_path / "absent"):
        assert 4 == call(command, path)
        assert len(capsys.readouterr().err.splitlines()) >= 3


def test_inspect_says_what_is_inside(run: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Position, parts, every tensor with shape and digest, facts and evidence."""
    path = run.checkpoints / "step-00000006"
    assert 0 == call("inspect", "--json", path)
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    manifest = Checkpoint.at(path).manifest
    assert 6 == said["position"]["step"]
    assert {name: each.digest for name, each in manifest.leaves.items()} == {
        name: each["digest"] for name, each in said["leaves"].items()
    }
    assert 4 == said["parts"]["model"]["leaves"]
    assert 7 == said["facts"]["order"]["seed"]
    assert said["evidence"]["next_samples"]
    assert 0 == call("inspect", path)
    out = capsys.readouterr().out
    assert "model.0.weight" in out
    assert "16x4" in out
    assert 0 == call("inspect", run.root)
    names = [each.split()[0] for each in capsys.readouterr().out.splitlines() if each]
    assert ["step-00000002", "step-00000004", "step-00000006"] == names[3:]


def test_diff_of_a_checkpoint_with_itself_is_nothing(
    run: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0."""
    assert 0 == call("diff", run.root, run.checkpoints / "step-00000006")
    assert "0 of " in capsys.readouterr().out.splitlines()[-1]


def test_diff_says_which_and_by_how_much(run: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3; every figure equals the one computed from the whole tensors; worst first."""
    a, b = run.checkpoints / "step-00000002", run.checkpoints / "step-00000006"
    assert 3 == call("diff", "--json", a, b)
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    one, other = (Checkpoint.at(path).tensors("model") for path in (a, b))
    leaves = {each["leaf"]: each for each in said["leaves"]}
    for name in ("model.0.weight", "model.3.bias"):
        x, y = one[name].read().double(), other[name].read().double()
        found = leaves[name]
        assert float((x - y).abs().max()) == pytest.approx(found["max_abs"], rel=1e-12)
        assert float((x - y).norm() / x.norm()) == pytest.approx(found["relative"], rel=1e-12)
        assert int((x != y).sum()) == found["elements"]
    relative = [float(each["relative"]) for each in said["leaves"]]
    assert sorted(relative, reverse=True) == relative
    assert "position.step" in {each["name"] for each in said["values"]}
    assert "scheduler.updates" in {each["name"] for each in said["values"]}
    assert 3 == call("diff", a, b)
    assert "relative" in capsys.readouterr().out


def test_diff_in_blocks_is_diff_as_a_whole(run: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the blocks changes no figure."""
    a, b = (Checkpoint.at(run.checkpoints / f"step-0000000{n}") for n in (2, 4))
    before = difference(a, b)
    monkeypatch.setattr("unbroken.checkpoint.difference.BLOCK_ELEMENTS", 3)
    after = difference(a, b)
    for one, other in zip(before.leaves, after.leaves, strict=True):
        assert (one.leaf, one.elements, one.max_abs) == (other.leaf, other.elements, other.max_abs)
        assert one.relative == pytest.approx(other.relative)


def test_diff_of_what_cant_be_compared(tmp_path: Path) -> None:
    """Other shapes, leaves on one side only, infinities, bits without a number's difference."""
    import unbroken

    def saved(where: str, model: torch.nn.Module) -> Checkpoint:
        order = unbroken.StepBatches(["a"], [1], 1, 0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        training = unbroken.Run(tmp_path / where, order=order, model=model, optimizer=optimizer)
        training.resume("auto")
        path = training.save()
        training.close()
        return Checkpoint.at(path)

    class Model(torch.nn.Module):
        def __init__(self, **tensors: list[float]) -> None:
            super().__init__()
            for name, values in tensors.items():
                self.register_parameter(name, torch.nn.Parameter(torch.tensor(values)))

    inf, nan = float("inf"), float("nan")
    a = Model(shape=[1.0], gone=[1.0], inf=[1.0, 2.0], nan=[nan, 1.0], zero=[0.0], near=[1.0, 2.0])
    b = Model(shape=[1.0, 2.0], new=[1.0], inf=[inf, 2.0], nan=[nan, 2.0], zero=[-0.0],
              near=[1.0, 2.5])  # fmt: skip
    found = {each.leaf: each for each in difference(saved("a", a), saved("b", b)).leaves}
    assert "shape or dtype" == found["model.shape"].what
    assert ("only in A", "only in B") == (found["model.gone"].what, found["model.new"].what)
    assert inf == found["model.inf"].max_abs == found["model.inf"].relative
    assert (1, 1.0) == (found["model.nan"].elements, found["model.nan"].max_abs)
    assert ("bits", 0) == (found["model.zero"].what, found["model.zero"].elements)
    assert 0.5 / 5**0.5 == pytest.approx(found["model.near"].relative)


def test_prune_says_first_and_deletes_then(run: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run names what goes and deletes nothing; without it exactly that goes."""
    assert 0 == call("prune", "--dry-run", run.root, "--keep-last", 1)
    said = capsys.readouterr().out.splitlines()
    doomed = [line.split()[-1] for line in said if line.startswith("would be deleted")]
    assert ["step-00000002", "step-00000004"] == doomed
    assert 3 == len(listed(run))
    assert 0 == call("prune", run.root, "--keep-last", 1)
    assert ["step-00000006"] == listed(run)
    assert not run.lock_file.exists()


def test_prune_trusts_only_what_it_verified(run: Layout) -> None:
    """The newest is damaged: the one before it is the newest whole one, and stays."""
    flip(run.checkpoints / "step-00000006" / "model.safetensors")
    assert 0 == call("prune", run.root, "--keep-last", 1)
    assert ["step-00000004", "step-00000006"] == listed(run)


def test_prune_leaves_the_pinned(run: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """`pin` keeps, `unpin` lets go, and inspect shows it."""
    first = run.checkpoints / "step-00000002"
    assert 0 == call("pin", first)
    capsys.readouterr()
    assert 0 == call("inspect", run.root)
    (listed_first,) = (
        each for each in capsys.readouterr().out.splitlines() if each.startswith(first.name)
    )
    assert "pinned" in listed_first
    assert 0 == call("prune", run.root, "--keep-last", 1)
    assert ["step-00000002", "step-00000006"] == listed(run)
    assert 0 == call("unpin", first)
    assert 0 == call("prune", run.root, "--keep-last", 1)
    assert ["step-00000006"] == listed(run)
    assert 4 == call("pin", run.checkpoints / "step-00000099")
    capsys.readouterr()
    assert 4 == call("pin", run.root)
    assert f"{run.root} is not a checkpoint." in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["--keep-last", "0"], ["--keep-last", "-1"], ["--keep-hours", "nan"]]
)
def test_prune_without_a_rule_is_refused(run: Layout, words: list[str]) -> None:
    """No rule is no order to delete everything."""
    assert 2 == call("prune", run.root, *words)
    assert 3 == len(listed(run))


def test_prune_waits_for_no_training(run: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that another process writes to is not touched."""
    code = (
        "import sys; from pathlib import Path; from unbroken.checkpoint.layout import Layout\n"
        "from unbroken.checkpoint.lock import WriterLock\n"
        "WriterLock(Layout(Path(sys.argv[1]))).take(); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run.root)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stdout.readline()
        assert 2 == call("prune", run.root, "--keep-last", 1)
        assert f"process {child.pid}" in capsys.readouterr().err
        assert 0 == call("prune", "--dry-run", run.root, "--keep-last", 1)
    assert 3 == len(listed(run))


def test_a_run_of_nobody_is_not_pruned(tmp_path: Path) -> None:
    """A directory without a run.json holds nothing of ours."""
    assert 4 == call("prune", tmp_path, "--keep-last", 1)
    WriterLock(Layout(tmp_path)).release()
    assert [] == list(tmp_path.iterdir())


def test_names_out_of_a_file_cant_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in names are shown, not obeyed."""
    from unbroken.cli.figures import shown

    assert "a\\x1b[2Jb\\n\u1230" == shown("a\x1b[2Jb\n\u1230")
