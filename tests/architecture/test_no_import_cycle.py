"""No two modules know each other, not even for a type checker."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


def imported(path: Path) -> Iterator[str]:
    """Yield the names of what a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
            yield node.module


def cycle(source: Path) -> list[str]:
    """Return the modules of a cycle of imports; empty where there is none."""
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts): path
        for path in source.rglob("*.py")
    }
    graph = {name: set(imported(path)) & modules.keys() for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_is_imported_by_what_it_imports() -> None:
    """Imports under `TYPE_CHECKING` and inside of functions count as well."""
    assert [] == cycle(SOURCE)


def test_a_cycle_for_a_type_checker_is_found(tmp_path: Path) -> None:
    """The rule itself: two modules that know each other only by their types."""
    (tmp_path / "a.py").write_text("from b import B\n", "utf-8")
    (tmp_path / "b.py").write_text("if TYPE_CHECKING:\n    from a import A\n", "utf-8")
    assert {"a", "b"} == set(cycle(tmp_path))
