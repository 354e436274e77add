"""A function, or a script, whose training loop asks us for its rounds; all else is as it was written.

`for x in rounds:` becomes `for x in __unbroken__.loop(lambda: rounds):`. Lines keep their numbers, so that
tracebacks, breakpoints and coverage point into the source.
"""

from __future__ import annotations
import __future__

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType
from typing import Any, Final

from unbroken.protection import refusals
from unbroken.protection.training_loop import (
    Function,
    Functions,
    Scope,
    called_by,
    functions_of,
    goes_backward,
    trained_on,
    training_loop,
    training_scope,
)

ASKED: Final = "__unbroken__"
"""The variable under which the code finds what it asks."""
_FUTURE: Final = sum(
    getattr(__future__, name).compiler_flag for name in __future__.all_feature_names
)
"""Flags of a function's code that say under which rules it was compiled."""


@dataclass(frozen=True, slots=True)
class Source:
    """A function, or a script, and its loop that trains."""

    name: str
    """Of the function, or of the script's file."""
    file: str
    loop: ast.For
    """As it was written."""
    names: frozenset[str]
    """Names that the function, or what it calls in this file, reads."""
    called: tuple[Function, ...]
    """Functions of the file that the loop calls."""
    training: tuple[Function, ...]
    """Those of them that go backward."""
    trains_on: tuple[str, ...]
    """What the loop mentions where it goes backward over something."""

    @property
    def is_over(self) -> str:
        """What the loop is over, as it is written."""
        return ast.unparse(self.loop.iter)


class RewrittenFunction:
    """A function whose loop asks for its rounds.

    The source is read when this is made, so that a file that is edited later changes nothing.

    Args:
        function: As it was defined.

    Raises:
        SettingsInvalid: Its source can't be read.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._file = function.__code__.co_filename
        self._module, self._node = _source_of(function)

    def source(self) -> Source:
        """Return the function's loop.

        Raises:
            SettingsInvalid: No loop of it trains, or several do.
        """
        functions = functions_of(self._module)
        scope = Scope(self._function.__name__, self._node)
        loop = training_loop(scope, functions, self._file)
        names = _names_read(self._node, functions)
        return _source(self._function.__name__, self._file, loop, names, functions)

    def asking(self, asked: object, source: Source) -> Callable[..., Any]:
        """Return the function, its loop asking `asked`."""
        function = self._function
        code = self._compiled(source)
        cells = dict(
            zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        ) | {ASKED: CellType(asked)}
        closure = tuple(cells[name] for name in code.co_freevars)
        made = FunctionType(
            code, function.__globals__, function.__name__, function.__defaults__, closure
        )
        made.__kwdefaults__ = function.__kwdefaults__
        return made

    def _compiled(self, source: Source) -> CodeType:
        """Compile the function inside of one that has its free variables, and of its class."""
        function = self._function
        node = _with_loop_asking(self._node, source.loop)
        assert isinstance(node, Function)
        node.decorator_list = []
        body: ast.stmt = node
        if (holder := _class_of(function)) is not None:  # gives names with two underscores theirs
            body = ast.ClassDef(name=holder, bases=[], keywords=[], body=[body], decorator_list=[])
        free = [ast.arg(arg=name) for name in (*function.__code__.co_freevars, ASKED)]
        outer = ast.FunctionDef(
            name="_",
            args=ast.arguments(
                posonlyargs=[], args=free, kwonlyargs=[], kw_defaults=[], defaults=[]
            ),
            body=[body],
            decorator_list=[],
        )
        module = ast.fix_missing_locations(ast.Module(body=[outer], type_ignores=[]))
        flags = function.__code__.co_flags & _FUTURE
        whole = compile(module, self._file, "exec", flags=flags, dont_inherit=True)
        code = next(each for each in _codes_in(whole) if each.co_name == node.name)
        return code.replace(co_qualname=function.__qualname__)


def rewritten_script(text: str, file: str, function: str) -> tuple[CodeType, Source]:
    """Return the code of a script whose training loop asks for its rounds, and that loop.

    Args:
        text: The script.
        file: Its path.
        function: Name of the function that trains; empty to look for it.

    Raises:
        SettingsInvalid: The script has a syntax error, no loop of it trains, or several do.
    """
    try:
        module = ast.parse(text, file)
    except SyntaxError as error:
        raise refusals.no_python(file, error) from None
    scope = training_scope(module, function, file)
    functions = functions_of(module)
    loop = training_loop(scope, functions, file)
    names = _names_read(scope.node, functions)
    source = _source(scope.name or file, file, loop, names, functions)
    asking = _with_loop_asking(module, loop)
    assert isinstance(asking, ast.Module)
    return compile(ast.fix_missing_locations(asking), file, "exec", dont_inherit=True), source


def _source(
    name: str, file: str, loop: ast.For, names: frozenset[str], functions: Functions
) -> Source:
    return Source(
        name=name,
        file=file,
        loop=loop,
        names=names,
        called=tuple(called_by(loop, functions)),
        training=tuple(
            each for each in called_by(loop, functions) if goes_backward(each, functions)
        ),
        trains_on=tuple(trained_on(loop, functions)),
    )


def _source_of(function: FunctionType) -> tuple[ast.Module, Function]:
    try:
        lines, _ = inspect.findsource(function)
        module = ast.parse("".join(lines), function.__code__.co_filename)
    except (OSError, SyntaxError) as error:
        raise refusals.no_source(function.__qualname__, error) from None
    first = function.__code__.co_firstlineno
    for node in functions_of(module).get(function.__name__, []):
        if min(each.lineno for each in (node, *node.decorator_list)) == first:
            return module, node
    raise refusals.no_source(function.__qualname__, None)


def _with_loop_asking(node: ast.AST, loop: ast.For) -> ast.AST:
    """Return a copy of code in which one loop asks for its rounds."""
    copies: dict[int, Any] = {}  # of everything inside, by the identity of what was copied
    copied = copy.deepcopy(node, copies)
    mine = copies[id(loop)]
    asked = ast.Attribute(ast.Name(ASKED, ast.Load()), "loop", ast.Load())
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    call = ast.Call(asked, [ast.Lambda(nothing, mine.iter)], [])
    mine.iter = ast.fix_missing_locations(ast.copy_location(call, loop.iter))
    return copied


def _class_of(function: FunctionType) -> str | None:
    holder = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    return holder if holder.isidentifier() else None


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes_in(each)


def _names_read(node: ast.AST, functions: Functions) -> frozenset[str]:
    """Return the names that code reads, and what it calls in its file."""
    found: set[str] = set()
    waiting, seen = [node], {id(node)}
    while waiting:
        for each in ast.walk(waiting.pop()):
            if isinstance(each, ast.Name):
                found.add(each.id)
            name = each.id if isinstance(each, ast.Name) else getattr(each, "attr", "")
            for called in functions.get(name, ()):
                if id(called) not in seen:
                    seen.add(id(called))
                    waiting.append(called)
    return frozenset(found)
