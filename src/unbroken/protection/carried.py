"""What a loop carries from one round to the next in plain variables, read from its source.

A best score, a count of epochs without progress, a list of losses: a start begins with them anew.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Final

_CHANGING: Final = frozenset(
    {
        *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popleft"),
        *("put", "remove", "setdefault", "sort", "update"),
        *("add_scalar", "add_scalars", "write", "writelines", "writerow", "writerows"),
    }
)
"""Methods that change what they are called on."""


def carried(loop: ast.For) -> dict[str, bool]:
    """Return what a loop reads that an earlier round, or the code before it, has written.

    Returns:
        By its expression, such as `best` or `self.best`, whether it was written in the loop's own
        body before an inner loop that goes on with it, as the sum of an epoch is.
    """
    found = dict.fromkeys(_carried_by(loop), False)
    before: set[str] = set()
    for statement in loop.body:
        for inner in _loops_in(statement):
            found.update(dict.fromkeys((before & set(_carried_by(inner))) - set(found), True))
        before |= _Uses.of([statement]).written
    return found


def _loops_in(statement: ast.stmt) -> list[ast.For]:
    return [each for each in ast.walk(statement) if isinstance(each, ast.For)]


def _carried_by(loop: ast.For) -> list[str]:
    uses = _Uses.of([loop])
    return sorted(uses.written - uses.anew | uses.changed)


class _Uses(ast.NodeVisitor):
    """Goes through statements in the order in which they run, and notes what they do with names."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.anew: set[str] = set()
        """Written before anything has read it."""
        self.changed: set[str] = set()
        """Changed in place."""
        self._seen: defaultdict[str, int] = defaultdict(int)
        self._ifs = 0

    @classmethod
    def of(cls, statements: list[ast.stmt]) -> _Uses:
        uses = cls()
        for each in statements:
            uses.visit(each)
        return uses

    def visit_Assign(self, node: ast.Assign) -> None:
        self._in_order([node.value, *node.targets])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._in_order([node.value, node.target])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._in_order([node.value, node.target])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        name = dotted(node.target)
        if name:
            self._reads(name)
            self._writes(name)
        else:
            self.visit(node.target)

    def visit_For(self, node: ast.For) -> None:
        self._in_order([node.iter, node.target, *node.body, *node.orelse])

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._perhaps([*node.body, *node.orelse])

    def visit_Try(self, node: ast.Try) -> None:
        self._perhaps([*node.body, *node.handlers, *node.orelse])
        self._in_order(node.finalbody)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            self.changed |= {dotted(node.func.value)} - {""}
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Store | ast.Del):
            self.changed |= {dotted(node.value)} - {""}
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._uses(node.id, node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if name := dotted(node):
            self._uses(name, node.ctx)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Leave out what a function inside has of its own."""

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Likewise."""

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.visit(node.iter)

    def _uses(self, name: str, how: ast.expr_context) -> None:
        if isinstance(how, ast.Load):
            self._reads(name)
        else:
            self._writes(name)

    def _reads(self, name: str) -> None:
        self._seen[name] += 1

    def _writes(self, name: str) -> None:
        self.written.add(name)
        if not self._seen[name] and not self._ifs:
            self.anew.add(name)
        self._seen[name] += 1

    def _in_order(self, nodes: list[ast.AST] | list[ast.stmt] | list[ast.expr]) -> None:
        for each in nodes:
            self.visit(each)

    def _perhaps(self, nodes: list[ast.stmt] | list[ast.AST]) -> None:
        self._ifs += 1
        self._in_order(nodes)
        self._ifs -= 1


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for a name or an attribute of one; empty for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(names)])


def expressions_in(node: ast.AST) -> list[str]:
    """Return the names and attributes that code reads, in its order; those in `len(...)` only tell a size."""
    found: list[str] = []
    _collect(node, found)
    return found


def _collect(node: ast.AST, found: list[str]) -> None:
    if isinstance(node, ast.Call) and dotted(node.func) == "len":
        return
    if isinstance(node, ast.Name | ast.Attribute) and (name := dotted(node)):
        found.append(name)
        return
    for child in ast.iter_child_nodes(node):
        _collect(child, found)
