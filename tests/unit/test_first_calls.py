"""Importing the library makes torch's first vector calls, by one thread, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from support.tiny_trainer import environment
from unbroken.first_calls import DTYPES, VECTOR_FUNCTIONS, make_first_calls

WATCHED = """
import torch
from torch.utils._python_dispatch import TorchDispatchMode

class Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        for each in arguments[:1]:
            if isinstance(each, torch.Tensor):
                print(function.overloadpacket.__name__, str(each.dtype)[6:], each.numel())
        return function(*arguments, **(named or {}))

with Watch():
    import unbroken
"""


def printed(code: str, *, cwd: Path | None = None) -> list[str]:
    """Run a program in a process of its own; return the lines it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()


def test_each_function_is_called_in_each_dtype_with_one_number() -> None:
    """One number is computed by the thread that asks, so that no other thread comes in between."""
    expected = {f"{name} {dtype} 1" for name in (*VECTOR_FUNCTIONS, "pow") for dtype in DTYPES}
    assert expected == set(printed(WATCHED))


def test_they_are_made_right_after_torch_is_loaded() -> None:
    """The library doesn't load torch for them, but whoever loads it later finds them made."""
    assert ["False", "0", "1"] == printed(
        "import sys, unbroken\n"
        "from unbroken.first_calls import make_first_calls\n"
        "print('torch' in sys.modules)\n"
        "print(make_first_calls.cache_info().misses)\n"
        "import torch\n"
        "print(make_first_calls.cache_info().misses)\n"
    )


def test_torch_stays_the_module_it_is() -> None:
    """Its loader, its source and its files are found as without the library."""
    assert ["SourceFileLoader", "True", "True"] == printed(
        "import unbroken, torch, inspect, importlib.resources\n"
        "print(type(torch.__loader__).__name__)\n"
        "print('import' in inspect.getsource(torch))\n"
        "print(importlib.resources.files(torch).joinpath('version.py').is_file())\n"
    )


def test_a_torch_that_can_not_be_loaded_says_so_itself(tmp_path: Path) -> None:
    """The library adds nothing to the error of a broken installation."""
    (tmp_path / "torch.py").write_text("raise ImportError('broken')\n", encoding="utf-8")
    code = (
        "import unbroken\ntry:\n    import torch\nexcept ImportError as error:\n    print(error)\n"
    )
    assert ["broken"] == printed(code, cwd=tmp_path)


def test_no_random_number_is_drawn_for_them() -> None:
    """The generators are as they were."""
    before = torch.get_rng_state()
    make_first_calls.__wrapped__()
    assert torch.equal(before, torch.get_rng_state())


def test_worker_processes_have_made_them(tmp_path: Path) -> None:
    """A forked worker finds them made, one begun anew makes them when it imports the library."""
    hows = ["spawn"] if sys.platform == "win32" else ["fork", "spawn", "forkserver"]
    (tmp_path / "program.py").write_text(
        "import torch, unbroken\n"
        "from unbroken.first_calls import make_first_calls\n"
        "def misses(_):\n"
        "    return make_first_calls.cache_info().misses\n"
        "if __name__ == '__main__':\n"
        f"    for how in {hows}:\n"
        "        pool = torch.multiprocessing.get_context(how).Pool(1)\n"
        "        print(pool.map(misses, [0]))\n"
        "        pool.close()\n"
        "        pool.join()\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "program.py"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ["[1]"] * len(hows) == done.stdout.splitlines(), done.stderr
