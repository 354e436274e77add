"""What a loop carries from one round to the next in plain variables, read from its source.

A best score, a count of epochs without progress, a list of losses: a start begins with them anew.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_CHANGING: Final = frozenset(
    {
        *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popleft"),
        *("put", "remove", "setdefault", "sort", "update"),
        *("add_scalar", "add_scalars", "write", "writelines", "writerow", "writerows"),
    }
)
"""Methods that change what they are called on."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Expressions, such as `best` or `self.best`."""

    between: frozenset[str]
    """What a round reads that an earlier one, or the code before the loop, has written."""
    within: Mapping[str, str]
    """What goes on from batch to batch within a round; the function that it is in, empty for the loop's own."""
    assigned: frozenset[str]
    """What the loop assigns at all."""
    anew: frozenset[str]
    """What each round assigns before it reads it."""
    iterated: frozenset[str]
    """What the loop takes the next value of, or goes through."""


def carried(
    loop: ast.For, called: Sequence[ast.AST] = (), training: Sequence[ast.AST] = ()
) -> Carried:
    """Return what a loop carries on.

    Args:
        loop: As it was written.
        called: The functions of its file that it calls.
        training: Those of them that go backward: only these are resumed in their middle.
    """
    whole = _Uses.of([loop])
    within = dict.fromkeys(_within(loop.body) - whole.carried, "")
    between, iterated = set(whole.carried), set(_iterated(loop))
    for each in called:
        if isinstance(each, ast.FunctionDef):
            uses, names = _Uses.of(each.body), _names_of_others(each)
            own = {a.arg for a in ast.walk(each.args) if isinstance(a, ast.arg)}
            own |= {name for name in uses.written if name not in names}
            between |= uses.written & names
            between |= {name for name in uses.changed if name.partition(".")[0] not in own}
            if each in training:
                within |= dict.fromkeys(_within(each.body) - names, each.name)
            iterated |= {name for name in _iterated(each) if name.partition(".")[0] not in own}
    for node in (*loop.body, *training):
        within |= dict.fromkeys(_counted_by_itself(node), "")
    return Carried(
        between=frozenset(between),
        within=within,
        assigned=frozenset(whole.written),
        anew=frozenset(whole.anew),
        iterated=frozenset(iterated),
    )


def _within(statements: Sequence[ast.stmt]) -> set[str]:
    """Return what is written before an inner loop that goes on with it, as the sum of an epoch is."""
    found: set[str] = set()
    before: set[str] = set()
    for statement in statements:
        for inner in (each for each in ast.walk(statement) if isinstance(each, ast.For)):
            found |= before & _Uses.of([inner]).carried
        before |= _Uses.of([statement]).written
    return found


def _names_of_others(function: ast.FunctionDef) -> set[str]:
    """Return the names that a function takes from outside by `global` or `nonlocal`."""
    told = (each for each in ast.walk(function) if isinstance(each, ast.Global | ast.Nonlocal))
    return {name for each in told for name in each.names}


def _iterated(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and dotted(each.func) == "next" and each.args:
            yield dotted(each.args[0])
        elif isinstance(each, ast.For):
            yield from expressions_in(each.iter)


def _counted_by_itself(node: ast.AST) -> Iterator[str]:
    """Yield what a loop is over that counts the batches by itself: `islice(loader, 6)`, `range(6)` with `next`."""
    for each in ast.walk(node):
        if isinstance(each, ast.For):
            calls = [one for one in ast.walk(each.iter) if isinstance(one, ast.Call)]
            names = {dotted(one.func).rpartition(".")[2] for one in calls}
            asks = any(
                isinstance(one, ast.Call) and dotted(one.func) == "next" for one in ast.walk(each)
            )
            if "islice" in names or {"zip", "range"} <= names or ("range" in names and asks):
                yield ast.unparse(each.iter)


class _Uses(ast.NodeVisitor):
    """Goes through statements in the order in which they run, and notes what they do with names."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.anew: set[str] = set()
        """Written before anything has read it."""
        self.changed: set[str] = set()
        """Changed in place."""
        self._targets: set[str] = set()  # what inner loops go through, one by one
        self._seen: defaultdict[str, int] = defaultdict(int)
        self._ifs = 0

    @property
    def carried(self) -> set[str]:
        """What is read, or changed in place, before it is written anew."""
        found = self.written - self.anew | self.changed
        return {each for each in found if each.partition(".")[0] not in self._targets}

    @classmethod
    def of(cls, statements: Sequence[ast.stmt]) -> _Uses:
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
        names = {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
        self._targets |= names
        if names & self.changed:  # what the loop is over holds what is changed
            self.changed |= set(expressions_in(node.iter))
            self.changed -= names

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._perhaps([*node.body, *node.orelse])

    def visit_Try(self, node: ast.Try) -> None:
        self._perhaps([*node.body, *node.handlers, *node.orelse])
        self._in_order(node.finalbody)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and _changes(node.func.attr):
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


def _changes(method: str) -> bool:
    """Say whether a method changes what it is called on; PyTorch's that do so end with an underscore."""
    is_in_place = method.endswith("_") and not method.startswith("_")
    return method in _CHANGING or (is_in_place and method != "requires_grad_")


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
