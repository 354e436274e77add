"""The pages say what is so: links resolve, commands exist, generated pages are current."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from unbroken_tts.cli.main import COMMANDS
from unbroken_tts.hardware.batch_plan import CUDA_ROWS
from unbroken_tts.settings import TrainSettings
from unbroken_tts.settings_flags import flag

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    """Every link within the repository leads to a file, and to a heading where it names one."""
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert [] == broken


def test_the_root_has_few_pages() -> None:
    """At most four pages lie at the root; the rest is in docs/."""
    assert 4 >= len(list(ROOT.glob("*.md")))


@pytest.mark.parametrize("name", ["api_docs", "cli_docs", "troubleshooting"])
def test_a_generated_page_is_current(name: str) -> None:
    """It is what the program, the checks or the docstrings say now; no public name is left out."""
    script = ROOT / "scripts" / f"write_{name}.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_flag_is_in_the_table() -> None:
    """No setting is left out of docs/cli.md."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [] == [name for name in TrainSettings.model_fields if f"`{flag(name)}" not in page]


def test_the_make_targets_of_the_pages_exist() -> None:
    """What the README and CONTRIBUTING tell people to make, make can make."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert {"demo", "test", "check", "setup", "example"} <= named
    assert set() == named - targets


def test_the_commands_of_the_readme_exist() -> None:
    """Every `unbroken-tts ...` in the README is a command of the program."""
    named = set(re.findall(r"unbroken-tts ([a-z]+)", README))
    assert {"train", "prepare", "say", "export", "evaluate", "demo"} <= named
    assert set() == named - set(COMMANDS)


def test_the_users_command_stands_in_the_readme_for_both_systems() -> None:
    """Word for word, and the Windows form differs only in slashes and line ends."""
    linux = re.search(r"^python trainers/train.*?--amp$", README, re.MULTILINE | re.DOTALL)
    windows = re.search(r"^python trainers\\train.*?--amp$", README, re.MULTILINE | re.DOTALL)
    assert linux
    assert windows
    words = shlex.split(linux.group().replace("\\\n", " "))
    assert [
        "python",
        "trainers/train_gpt_v2.py",
        "--train-manifest",
        "preprocessed_amharic/train_pairs.jsonl",
        "--val-manifest",
        "preprocessed_amharic/val_pairs.jsonl",
        "--tokenizer",
        "tokenizers/amharic_extended_bpe.model",
        "--output-dir",
        "training_output",
        "--resume",
        "auto",
        "--amp",
    ] == words
    assert words == windows.group().replace("^\n", " ").replace("\\", "/").split()
    flags = {flag(name) for name in TrainSettings.model_fields}
    assert set() == {word for word in words if word.startswith("--")} - flags


def test_the_readme_pins_the_torch_of_the_constraints() -> None:
    """The plain pip lines install the same PyTorch as `make setup`."""
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = re.search(r"^torch==(\S+)$", constraints, re.MULTILINE)
    assert pinned
    assert {pinned.group(1)} == set(re.findall(r"torch==([\d.]+)\+cpu", README))


def test_the_constraints_are_exact_and_portable() -> None:
    """Every line is a name and a public version: no build tag, no path, no host."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [] == [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)]
    names = [line.partition("==")[0] for line in pins]
    assert sorted(names) == names


def test_decisions_are_numbered_without_a_gap() -> None:
    """0001, 0002, ...: each page says its number, and the list names each page."""
    assert [f"{number:04d}" for number in range(1, len(DECISIONS) + 1)] == [
        page.name[:4] for page in DECISIONS
    ]
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    for page in DECISIONS:
        assert page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ")
        assert f"({page.name})" in listed


def test_the_hardware_table_of_the_docs_is_the_programs() -> None:
    """Each row of docs/architecture.md is a row the program uses."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for row in CUDA_ROWS[:-1]:
        effective = row.batch * row.accumulation
        cells = f"| {row.reported_gib} GiB | {row.batch} | {row.accumulation} | {effective} |"
        assert cells in page


def test_the_old_guides_phrases_lead_to_tests_that_exist() -> None:
    """The trainer's docstring keeps the two phrases; each module and test it names is there."""
    text = (ROOT / "trainers" / "train_gpt_v2.py").read_text(encoding="utf-8")
    assert "CRITICAL: Always restore training mode" in text
    assert "start_epoch = 0  # NEW" in text
    paths = re.findall(r"(?:src|tests)/[\w/]+\.py", text)
    assert 5 == len(paths)
    assert [] == [path for path in paths if not (ROOT / path).is_file()]
