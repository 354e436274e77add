"""`unbroken run -- script.py`: a script that knows nothing of us is killed, and goes on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support import preloaded
from support.dying import DYING

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "unchanged.py"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def unbroken_run(
    place: Path, *words: str, die: tuple[int, signal.Signals] | None = None
) -> CompletedProcess[str]:
    """Run the command in a directory, in a process of its own."""
    place.mkdir(exist_ok=True)
    before = "" if die is None else DYING.format(at=die[0], by=int(die[1]))
    code = f"""{before}
import sys
from unbroken.cli.main import main
sys.exit(main({["run", "--out", "out", *words]!r}))
"""
    return preloaded.run_code(code, cwd=place)


def weights(ended: CompletedProcess[str]) -> str:
    """Return what a start printed of its weights."""
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.partition("weights:")[2]


def test_killed_stopped_and_typed_again(tmp_path: Path) -> None:
    """It ends with the weights of the script that nobody stopped, and its numbers go on."""
    words = ("--save-every", "3", "--", str(SCRIPT), "--lr", "1.0")
    whole = unbroken_run(tmp_path / "whole", *words)
    place = tmp_path / "killed"
    assert unbroken_run(place, *words, die=(4, signal.SIGKILL)).returncode == -signal.SIGKILL
    stopped = unbroken_run(place, *words, die=(2, signal.SIGTERM))
    assert stopped.returncode == 75, stopped.stderr
    last = unbroken_run(place, *words)
    assert weights(last) == weights(whole)
    assert "[Replay] EXACT" in last.stderr
    assert last.stdout in whole.stdout
    assert last.stdout.startswith(("epoch 1 [3/8]", "epoch 1 [6/8]"))
    for found in ("train_loader ", "model ", "optimizer ", "scheduler ", "data=train_loader"):
        assert found in whole.stderr


def test_it_prints_what_it_prints_by_itself(tmp_path: Path) -> None:
    """But for the numbers, as the order of the run is its own."""
    place = tmp_path / "plain"
    place.mkdir()
    plain = preloaded.run_code(SCRIPT.read_text("utf-8"), cwd=place).stdout
    whole = unbroken_run(tmp_path / "whole", "--track", "tensorboard", "--", str(SCRIPT)).stdout
    assert [each.split()[0] for each in plain.splitlines()] == [
        each.split()[0] for each in whole.splitlines()
    ]
    assert list((tmp_path / "whole" / "runs").rglob("events.out.tfevents.*"))


def test_a_module_is_run_as_python_runs_it(tmp_path: Path) -> None:
    """`-m package.train`, with what it imports beside it; and `python` before it is left out."""
    package = tmp_path / "place" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sizes.py").write_text("BATCH = 4\n", "utf-8")
    (package / "train.py").write_text(
        """
import sys
import torch
from torch.utils.data import DataLoader, TensorDataset
from .sizes import BATCH

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(16, 4)), BATCH)
for epoch in range(2):
    for (x,) in loader:
        model(x).square().mean().backward()
        optimizer.step()
print("done", __name__, __package__, sys.argv[1:])
""",
        "utf-8",
    )
    done = unbroken_run(tmp_path / "place", "--", "-m", "mine.train", "--lr", "-1e-3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done __main__ mine ['--lr', '-1e-3']\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--", "missing.py"], 2, "missing.py can't be read"),
        (["--track", "nothing", "--", "idle.py"], 2, "There is no tracker 'nothing'"),
        (["--", "-m", "missing.module"], 2, "No source of a module 'missing.module'"),
        (["--", "-X", "dev", "train.py"], 2, "Options of Python act when it starts"),
        (["--", "python9.9", "train.py"], 2, "`python9.9` is not found"),
        (["--", "wrong.py"], 2, "wrong.py, line 1: "),
        (["--", "idle.py"], 2, "No `for` loop that trains was found in the script"),
        (["--function", "main", "--", "idle.py"], 2, "has no function 'main'"),
        (["--seed", "-1", "--", "idle.py"], 2, "No `for` loop"),
        (["idle.py", "--wrong"], 2, "--wrong is an unknown flag"),
        ([], 2, "required: COMMAND"),
        (["--", "failing.py"], 1, "ZeroDivisionError"),
        (["--", "leaving.py"], 7, "was never begun"),
    ],
)
def test_what_goes_wrong(words: list[str], code: int, told: str, tmp_path: Path) -> None:
    """Each has an exit code and a message; a mistake of the script is shown as Python would."""
    trains = "\nfor x in range(3): x.backward()\n"
    (tmp_path / "wrong.py").write_text("for in range", "utf-8")
    (tmp_path / "idle.py").write_text("print(1)", "utf-8")
    (tmp_path / "failing.py").write_text("1 / 0" + trains, "utf-8")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(7)" + trains, "utf-8")
    ended = unbroken_run(tmp_path, *words)
    assert ended.returncode == code, ended.stderr
    assert told in ended.stderr
    assert "bug in the program" not in ended.stderr
    assert "unbroken/" not in ended.stderr
    assert not (tmp_path / "out").exists()
