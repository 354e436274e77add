import sys
from pathlib import Path

import unbroken

Path("train_commands").mkdir(exist_ok=True)
Path("train_commands/__init__.py").touch()
Path("train_commands/train.py").write_text(
    """
import unbroken

def add_parser(subparsers):
    parser = subparsers.add_parser("train")
    parser.add_argument("--directory", default="training_output")
    parser.set_defaults(run=run)

def run(arguments):
    with unbroken.progress_bars() as bars:
        bars("Reading")(3, 3)
    print("read", unbroken.counted(3, "file"), "on", unbroken.counted(unbroken.usable_cores(), "core"))
    raise unbroken.Stopped("Stopped by SIGTERM.", "All is saved.", "Start it again.")
"""
)
sys.path.insert(0, ".")
program = unbroken.Program(
    name="my-trainer",
    description="Trains.",
    commands={"train": "train, or resume training"},
    package="train_commands",
    exit_codes="75: stopped and saved",
    install="python -m pip install my-trainer",
)
assert unbroken.run_program(program, ["train"]) == 75
assert unbroken.run_program(program, ["train", "--directroy", "x"]) == 2  # did you mean ...?
assert unbroken.nearest("expotr", ["export"]) == " Did you mean export?"
