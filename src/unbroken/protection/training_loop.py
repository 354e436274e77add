"""Which loop of a function or a script trains, read from its source: the outermost that goes backward."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from unbroken.protection import refusals
from unbroken.protection.carried import expressions_in

Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.AsyncFor | ast.While
Functions = Mapping[str, Sequence[Function]]
"""The functions and methods of a file, by name."""

BACKWARD: Final = "backward"
"""What is called on a loss, or by what scales it, in a loop that trains."""
STEP: Final = "step"
"""What is called on an optimizer or a schedule."""
_METHODS_OF_TORCH: Final = frozenset({"backward", "eval", "step", "to", "train", "zero_grad"})
"""Of modules and optimizers: a method of the same name in the file is probably not meant."""
_OWN_SCOPE: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Scope:
    """Code whose variables are in one place: a function, or the module itself."""

    name: str
    """Of the function; empty for the module."""
    node: Function | ast.Module


def functions_of(module: ast.Module) -> dict[str, list[Function]]:
    """Return the functions and methods of a file, by name."""
    found: dict[str, list[Function]] = {}
    for node in ast.walk(module):
        if isinstance(node, Function):
            found.setdefault(node.name, []).append(node)
    return found


def training_loop(scope: Scope, functions: Functions, where: str) -> ast.For:
    """Return the loop of a scope that trains.

    Args:
        scope: The function, or the module.
        functions: What the loop may call.
        where: The file, for messages.

    Raises:
        SettingsInvalid: There is none, there are several, or it is a `while` loop.
    """
    loops = _that_train(scope, functions)
    if not loops:
        raise refusals.no_loop(scope.name, where)
    if len(loops) > 1:
        raise refusals.several_loops(scope.name, where, [each.lineno for each in loops])
    (loop,) = loops
    if not isinstance(loop, ast.For):
        raise refusals.no_for_loop(scope.name, where, loop.lineno)
    if any(isinstance(each, ast.NamedExpr) for each in ast.walk(loop.iter)):
        raise refusals.no_for_loop(scope.name, where, loop.lineno)
    return loop


def training_scope(module: ast.Module, wanted: str, where: str) -> Scope:
    """Return the scope of a script whose loop trains, and which no other such loop calls.

    Args:
        module: The script.
        wanted: Name of the function; empty to look for it.
        where: The file, for messages.

    Raises:
        SettingsInvalid: There is none, or there are several.
    """
    functions = functions_of(module)
    if wanted and wanted not in functions:
        raise refusals.no_function(wanted, where, sorted(functions))
    scopes = [Scope(name, each) for name, found in functions.items() for each in found]
    if wanted:
        scopes = [each for each in scopes if each.name == wanted]
    else:
        scopes.insert(0, Scope("", module))
    loops = {each: _that_train(each, functions, is_known=True) for each in scopes}
    training = [each for each in scopes if loops[each]]
    called = {
        node
        for scope in training
        for loop in loops[scope]
        for node in called_by(loop, functions)
        if node is not scope.node
    }
    outermost = [each for each in training if each.node not in called]
    if not outermost and wanted:
        return scopes[0]
    if len(outermost) != 1:
        raise refusals.no_one_function(where, [each.name for each in outermost])
    return outermost[0]


def _that_train(scope: Scope, functions: Functions, *, is_known: bool = False) -> list[Loop]:
    """Return the outermost loops that go backward; without any those that step; else one that calls.

    Args:
        scope: Where they are.
        functions: What they may call.
        is_known: Whether a loop that only calls what isn't known is none.
    """
    loops = list(_outermost(scope.node))
    for what in (BACKWARD, STEP):
        if found := [each for each in loops if _calls(each, what, functions)]:
            return found
    calling = [each for each in loops if _calls_a_name(each)]
    return [] if is_known or len(calling) != 1 else calling


def _outermost(node: ast.AST) -> Iterator[Loop]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Loop):
            yield child
        elif not isinstance(child, _OWN_SCOPE):
            yield from _outermost(child)


def _calls(loop: ast.AST, what: str, functions: Functions) -> bool:
    """Say whether a loop calls a method of that name, by itself or in functions of the file."""
    nodes = [loop, *called_by(loop, functions)]
    return any(
        isinstance(each.func, ast.Attribute) and each.func.attr == what
        for node in nodes
        for each in ast.walk(node)
        if isinstance(each, ast.Call)
    )


def _calls_a_name(loop: Loop) -> bool:
    return any(isinstance(each, ast.Call) for line in loop.body for each in ast.walk(line))


def called_by(loop: ast.AST, functions: Functions) -> list[Function]:
    """Return the functions of the file that code calls, and those that they call."""
    found: dict[Function, None] = {}
    waiting: list[ast.AST] = [loop]
    while waiting:
        for each in ast.walk(waiting.pop()):
            if isinstance(each, ast.Call):
                new = [one for one in _meant(each, functions) if one not in found]
                found |= dict.fromkeys(new)
                waiting += new
    return list(found)


def goes_backward(node: ast.AST, functions: Functions) -> bool:
    """Say whether code goes backward, by itself or in what it calls."""
    return _calls(node, BACKWARD, functions)


def trained_on(loop: ast.For, functions: Functions) -> Iterator[str]:
    """Yield what the loop mentions where it goes backward: what inner loops are over, what calls are given."""
    for node in ast.walk(loop):
        if isinstance(node, ast.For) and node is not loop and _calls(node, BACKWARD, functions):
            yield from expressions_in(node.iter)
        elif isinstance(node, ast.Call) and any(
            _calls(each, BACKWARD, functions) for each in _meant(node, functions)
        ):
            for given in (*node.args, *(each.value for each in node.keywords)):
                yield from expressions_in(given)


def _meant(call: ast.Call, functions: Functions) -> list[Function]:
    """Return the functions, or methods, of the file that a call may mean."""
    called = call.func
    if isinstance(called, ast.Name):
        return [each for each in functions.get(called.id, ()) if not _is_method(each)]
    if not isinstance(called, ast.Attribute) or not isinstance(called.value, ast.Name):
        return []
    is_own = called.value.id in ("self", "cls")
    if not is_own and called.attr in _METHODS_OF_TORCH and not _has_variables(call):
        return []  # such as model.train()
    return [each for each in functions.get(called.attr, ()) if _is_method(each)]


def _is_method(function: Function) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args]
    return bool(arguments) and arguments[0].arg in ("self", "cls")


def _has_variables(call: ast.Call) -> bool:
    given = (*call.args, *(each.value for each in call.keywords))
    return any(not isinstance(each, ast.Constant) for each in given)
