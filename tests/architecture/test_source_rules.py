"""Rules about the source that no linter knows: sizes, names, no pickle, no foreign hosts."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = sorted(
    path
    for folder in ("src", "trainers", "scripts", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
MOST_LINES = 350
MOST_LINES_OF_A_FUNCTION = 60
LARGEST_FILE_BYTES = 500_000
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "lib"}
# In two pieces, so that this file isn't its own finding.
REGISTRIES = re.compile(
    r"py"
    r"pi\.org|python"
    r"hosted\.org|download\.py"
    r"torch\.org|conda\.ana"
    r"conda\.org"
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def uses(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for all that a file imports, and for each `module.name` in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr


def test_a_file_is_one_idea() -> None:
    """No source file or test has more than 350 lines."""
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in PYTHON}
    assert {} == {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_a_function_fits_on_a_screen() -> None:
    """No function has more than 60 lines."""
    functions = {
        f"{relative(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    too_long = {n: lines for n, lines in functions.items() if lines > MOST_LINES_OF_A_FUNCTION}
    assert {} == too_long


def test_names_say_what_is_inside() -> None:
    """No module or folder is named after nothing."""
    names = {
        relative(path): NAMES_THAT_SAY_NOTHING & {path.stem, *path.relative_to(ROOT).parent.parts}
        for path in PYTHON
    }
    assert {} == {name: words for name, words in names.items() if words}


def test_nothing_is_unpickled() -> None:
    """The source imports no pickle and nothing that is one underneath.

    The one exception is an exception: what PyTorch's weights-only reader raises when it refuses.
    """
    pickles = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    allowed = {("pickle", ""), ("pickle", "UnpicklingError")}
    found = [
        f"{relative(path)}: {module} {name}"
        for path in SOURCES
        for module, name in uses(path)
        if module.partition(".")[0] in pickles and (module, name) not in allowed
    ]
    assert [] == found


def test_tensors_are_loaded_without_executing_anything() -> None:
    """Every `torch.load` says weights_only=True, every `np.load` leaves allow_pickle off."""
    found = []
    for path in PYTHON:
        for call in calls(path):
            name = ast.unparse(call.func)
            words = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if name == "torch.load" and words.get("weights_only") != "True":
                found.append(f"{relative(path)}:{call.lineno} {name}")
            if name.endswith("np.load") and words.get("allow_pickle", "False") != "False":
                found.append(f"{relative(path)}:{call.lineno} {name}")
    assert [] == found


def test_text_files_are_opened_with_their_encoding() -> None:
    """`open`, `read_text` and `write_text` in the source never depend on the system's encoding."""
    found = []
    for path in SOURCES:
        for call in calls(path):
            name = ast.unparse(call.func).rpartition(".")[2]
            words = {word.arg for word in call.keywords}
            if name in {"read_text", "write_text"} and not words & {"encoding"} and not call.args:
                found.append(f"{relative(path)}:{call.lineno} {name}")
    assert [] == found


def test_no_host_of_a_package_registry_is_named() -> None:
    """Where packages come from is the business of who installs them."""
    found = []
    for path in tracked_files():
        if path.stat().st_size < LARGEST_FILE_BYTES:
            text = path.read_bytes().decode("utf-8", errors="ignore")
            found += [f"{relative(path)}: {hit.group()}" for hit in REGISTRIES.finditer(text)]
    assert [] == found


def test_the_repository_stays_small() -> None:
    """No tracked file is larger than 500 kB; large things are made by a command."""
    sizes = {relative(path): path.stat().st_size for path in tracked_files()}
    assert {} == {name: size for name, size in sizes.items() if size > LARGEST_FILE_BYTES}


def test_text_files_end_with_a_line_end() -> None:
    """The last line of every tracked text file is a whole line."""
    suffixes = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".cfg", ""}
    broken = [
        relative(path)
        for path in tracked_files()
        if path.suffix in suffixes and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    ]
    assert [] == broken


@pytest.mark.parametrize("package", ["unbroken", "unbroken_tts"])
def test_the_packages_ship_their_types(package: str) -> None:
    """`py.typed` is there, so that users' type checkers read the annotations."""
    assert (ROOT / "src" / package / "py.typed").is_file()
