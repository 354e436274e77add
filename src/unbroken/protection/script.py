"""Runs a script as Python would, its training loop protected."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from unbroken.errors import SettingsInvalid
from unbroken.protection.rewritten import ASKED, rewritten_script
from unbroken.protection.session import Session


@dataclass(frozen=True, slots=True)
class Script:
    """A program as `python` is given it."""

    file: str
    text: str
    arguments: Sequence[str]
    """With its own name first."""
    first_path: str
    """Where its imports are looked for first."""
    spec: ModuleSpec | None = None
    """Of a module that is run by `-m`."""


def script_of(path: str, arguments: Sequence[str]) -> Script:
    """Return the script in a file.

    Raises:
        SettingsInvalid: It can't be read.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(
            f"{path} can't be read: {error}.",
            "It is the script that was to be run.",
            "Give the path of a Python script, or -m and the name of a module.",
        ) from None
    whole = Path(path).absolute()
    return Script(str(whole), text, [path, *arguments], str(whole.resolve().parent))


def module_of(name: str, arguments: Sequence[str]) -> Script:
    """Return the module that `python -m name` runs.

    Raises:
        SettingsInvalid: There is none, or its source isn't to be had.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    spec, text = None, None
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
        text = None if spec is None else spec.loader.get_source(spec.name)  # type: ignore[union-attr]  # AttributeError is caught
    except (ImportError, AttributeError, ValueError):
        pass
    if spec is None or text is None or spec.origin is None:
        raise SettingsInvalid(
            f"No source of a module {name!r} was found.",
            "It is the program that was to be run.",
            "Give the path of a Python script, or -m and the name of a module.",
        )
    return Script(spec.origin, text, [spec.origin, *arguments], here, spec)


def run_script(
    script: Script,
    directory: Path,
    *,
    function: str = "",
    data: str = "",
    accept: Collection[str] = (),
    policies: Mapping[str, Any],
) -> None:
    """Run a script in this process as its main program; whatever it raises comes out.

    Args:
        script: The script.
        directory: Of the run.
        function: The function whose loop trains; empty to look for it.
        data: The loader, as the script calls it; empty to look for it.
        accept: Ids of checks whose difference is meant.
        policies: Further arguments of `unbroken.Run`.

    Raises:
        SettingsInvalid: It has no loop that can be protected.
    """
    code, source = rewritten_script(script.text, script.file, function)
    main = ModuleType("__main__")
    vars(main).update({"__file__": script.file, "__spec__": script.spec})
    vars(main)["__loader__"] = SourceFileLoader("__main__", script.file)
    if script.spec is not None:
        vars(main)["__package__"] = script.spec.parent
        vars(main)["__loader__"] = script.spec.loader
    sys.modules["__main__"] = main
    sys.argv = list(script.arguments)
    sys.path[0] = script.first_path
    with Session(directory, source, data, accept, policies) as session:
        vars(main)[ASKED] = session
        exec(code, vars(main))  # noqa: S102  # that is what running a script is
