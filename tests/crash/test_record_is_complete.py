"""The record of calls is what the system was really asked for, as strace sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CALLS = (
    "open,openat,openat2,creat,mkdir,mkdirat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,"
    "truncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,"
    "rmdir,link,linkat,symlink,symlinkat,copy_file_range,sendfile"
)
CHILD = """
import json, sys
from pathlib import Path
from support.recorded_run import RUN, record_run
record = record_run(Path(sys.argv[1]))
calls = [c for c in record.calls if c.kind not in ("open", "mark")]
Path(sys.argv[2]).write_text(
    json.dumps([[c.kind, str(c.path), str(c.target or "")] for c in calls]), encoding="utf-8"
)
"""
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
OPENED = re.compile(r"^\d+<(.*?)>")
NAMES = {
    "write": "write",
    "ftruncate": "truncate",
    "fsync": "sync",
    "fdatasync": "sync",
    "mkdir": "mkdir",
    "unlink": "unlink",
    "rmdir": "rmdir",
    "rename": "rename",
}


def seen_by_strace(log: str, root: Path) -> list[list[str]]:
    """Return the calls below a directory that changed it, in the words of the record."""
    found = []
    for line in log.splitlines():
        match = re.match(r"^(?:\d+ +)?(\w+)\((.*)\) = (\S+)", line)
        if match is None or match.group(3).startswith("-1"):
            continue
        name, arguments, _ = match.groups()
        if name.startswith("open") and "O_CREAT" not in arguments:
            continue
        name = {"openat": "create", "open": "create"}.get(name, NAMES.get(name, name))
        opened = OPENED.match(arguments)
        if name in ("write", "truncate", "sync") and opened:
            paths = [opened.group(1)]
        else:
            paths = QUOTED.findall(arguments)
        places = [Path(each) for each in paths if Path(each).is_relative_to(root)]
        if not places:
            continue
        inside = [str(each.relative_to(root)) for each in places]
        found.append([name, inside[0], inside[1] if len(inside) > 1 else ""])
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_record_is_what_strace_sees(tmp_path: Path) -> None:
    """Every call that changed the directory is in the record, in its order, and no other is."""
    root, log, out = tmp_path / "root", tmp_path / "log", tmp_path / "calls.json"
    root.mkdir()
    done = subprocess.run(
        ["strace", "-f", "-y", "-qq", "-s", "512", "-e", f"trace={CALLS}", "-e", "signal=none",
         "-o", str(log), sys.executable, "-c", CHILD, str(root), str(out)],
        env={
            **os.environ,
            "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )  # fmt: skip
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip("processes can't be traced here")
    assert 0 == done.returncode, done.stderr[-2000:]
    recorded = json.loads(out.read_text(encoding="utf-8"))
    plain = [[kind.replace("sync directory", "sync"), *rest] for kind, *rest in recorded]
    text = log.read_text(encoding="utf-8", errors="replace")
    assert "<unfinished ...>" not in "".join(
        line for line in text.splitlines() if str(root) in line
    )
    assert len(plain) > 300
    assert plain == seen_by_strace(text, root)
