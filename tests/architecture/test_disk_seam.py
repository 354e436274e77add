"""Everything that changes the disk goes through one module, so that all of it can be recorded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "src" / "unbroken"
SEAM = LIBRARY / "checkpoint" / "system.py"
OF_OS = {
    "chmod", "chown", "copy_file_range", "fdatasync", "fsync", "ftruncate", "link", "makedirs",
    "mkdir", "mkfifo", "open", "posix_fallocate", "pwrite", "pwritev", "remove", "removedirs",
    "removexattr", "rename", "renames", "replace", "rmdir", "sendfile", "setxattr", "symlink",
    "sync", "truncate", "unlink", "utime", "write", "writev",
}  # fmt: skip
OF_PATHS = {
    "chmod", "hardlink_to", "mkdir", "rmdir", "symlink_to", "touch", "unlink", "write_bytes",
    "write_text",
}  # fmt: skip
WHOLE_MODULES = {"fcntl", "tempfile"}
OF_SHUTIL = {"copy", "copy2", "copyfile", "copytree", "make_archive", "move", "rmtree"}
ALLOWED = {
    # Opened to read only, past the cache.
    ("checkpoint/device_read.py", "os.open"),
    # Advice to the cache, which changes nothing on the disk.
    ("checkpoint/device_read.py", "import fcntl"),
    # A lock that the system takes back at the end of the process; no byte is written.
    ("checkpoint/os_lock.py", "import fcntl"),
    # A scratch folder of the self-test's own, gone when it ends.
    ("cli/selftest.py", "import tempfile"),
    # The null device, where the output goes that nobody reads any more.
    ("cli/program.py", "os.open"),
    # Into memory: the bytes are written by the one module.
    ("integrations/lightning/checkpoint_io.py", "torch.save"),
    # A word on standard error from a signal handler, where print may deadlock.
    ("loop/stop.py", "os.write"),
}


def mutations(path: Path) -> Iterator[str]:
    """Yield what a source file calls or imports that can change the disk."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (f"import {each.name}" for each in node.names if each.name in WHOLE_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "shutil", *WHOLE_MODULES}:
            taken = OF_OS | OF_SHUTIL
            yield from (f"from {node.module}" for each in node.names if each.name in taken)
        elif isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    owner, _, method = name.rpartition(".")
    of_modules = {"os": OF_OS, "shutil": OF_SHUTIL}.get(owner, OF_PATHS if owner else ())
    if method in of_modules and not owner.endswith("system"):
        yield name
    elif (method == "open" and owner != "os") or name in {"open", "os.fdopen"}:
        given = [*call.args[:2], *(each.value for each in call.keywords if each.arg == "mode")]
        modes = [str(each.value) for each in given if isinstance(each, ast.Constant)]
        if any(set(mode) & set("wax+") for mode in modes if len(mode) <= 3):
            yield f"{name}({', '.join(modes)})"
    elif name.endswith((".save", ".save_file")) and owner in {
        "torch",
        "np",
        "numpy",
        "safetensors",
    }:
        yield name


def test_only_one_module_changes_the_disk() -> None:
    """No other module of the library opens for writing, renames, removes, creates or syncs."""
    found = [
        f"{place}: {what}"
        for path in sorted(LIBRARY.rglob("*.py"))
        if path != SEAM and path.parent.name != "testing"  # which plays with copies
        for place in [path.relative_to(LIBRARY).as_posix()]
        for what in mutations(path)
        if (place, what) not in ALLOWED
    ]
    assert [] == found


def test_the_rule_sees_the_ways_around_it(tmp_path: Path) -> None:
    """The rule itself: each usual way to change the disk is found in a source that has it."""
    ways = [
        "import os\nos.replace('a', 'b')",
        "from os import unlink",
        "import shutil\nshutil.rmtree('a')",
        "open('a', 'w')",
        "open('a', mode='ab')",
        "path.open('xb')",
        "path.open('r+b')",
        "path.write_text('a', encoding='utf-8')",
        "path.mkdir()",
        "path.unlink()",
        "import tempfile",
        "torch.save({}, 'a')",
        "os.fdopen(3, 'wb')",
    ]
    source = tmp_path / "source.py"
    missed = []
    for way in ways:
        source.write_text(way, encoding="utf-8")
        if not list(mutations(source)):
            missed.append(way)
    assert [] == missed
    source.write_text("path.open('rb')\nopen('w.txt')\nos.stat('a')", encoding="utf-8")
    assert [] == list(mutations(source))
