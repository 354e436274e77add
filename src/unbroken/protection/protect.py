"""`@unbroken.protect("out")`: a function that trains, as it is, goes on where it was stopped."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack

from unbroken.protection import refusals
from unbroken.protection.rewritten import RewrittenFunction
from unbroken.protection.session import Session
from unbroken.run.monitor import OnDiverged
from unbroken.trackers.tracker import Tracker

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


class Policies(TypedDict, total=False):
    """What else `protect` takes, as `Run` does."""

    facts: Mapping[str, Any]
    may_change: Collection[str]
    save_every: int
    save_minutes: float
    keep: int
    keep_every: int
    max_lost_minutes: float
    grace_seconds: float
    stop_file: Path
    stop_after: str | float
    stop_signals: Collection[int | str]
    on_diverged: OnDiverged
    seed: int
    data_repeats: bool
    trackers: Sequence[Tracker]


def protect(
    directory: Path | str,
    *,
    data: str = "",
    accept: Collection[str] = (),
    **policies: Unpack[Policies],
) -> Callable[[Callable[Given, Returned]], Callable[Given, Returned]]:
    """Let a function that trains go on where it was stopped, without a changed line in it.

    When its loop begins, what its variables hold is found, declared to a `Run` in `directory`, compared
    and restored. The loop then gets the rounds, and from its loader the batches, that are left. A table in
    the log says what was found, what begins anew at each start, and how to write the same by hand.

    Args:
        directory: Where everything of the run lies.
        data: The loader that is trained on, as the function calls it (`"train_loader"`,
            `"self.loader"`), where the loop doesn't tell.
        accept: Ids of checks whose difference is meant.
        policies: As in `Run`: `facts`, `may_change`, `save_every`, `save_minutes`, `keep`, `keep_every`,
            `max_lost_minutes`, `grace_seconds`, `stop_file`, `stop_after`, `stop_signals`,
            `on_diverged`, `seed`, `data_repeats`, `trackers`.

    Returns:
        The decorator.

    Raises:
        SettingsInvalid: It is no plain function with a source; or, when it is called: no `for` loop of
            it trains, several do, or it isn't clear on which loader.
        RunMisused: When it is called: it was called before, or trains on what isn't the run's.
    """
    _require_directory(directory)

    def decorate(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
        rewritten = RewrittenFunction(_plain(function))
        has_run = False

        @functools.wraps(function)
        def protected(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
            nonlocal has_run
            if has_run:
                raise refusals.second_call(function.__qualname__, directory)
            source = rewritten.source()
            has_run = True
            with Session(directory, source, data, accept, policies) as session:
                result: Returned = rewritten.asking(session, source)(*args, **kwargs)
            return result

        return protected

    return decorate


def _require_directory(directory: object) -> None:
    """Refuse what is no path: the function itself, where the parentheses were forgotten.

    Raises:
        SettingsInvalid: It is none.
    """
    if not isinstance(directory, str | Path) or not str(directory):
        raise refusals.no_directory(directory)


def _plain(function: object) -> FunctionType:
    """Return the function.

    Raises:
        SettingsInvalid: It is none that is run from its beginning to its end.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise refusals.no_function_object(function, "an async function")
    if inspect.isgeneratorfunction(function):
        raise refusals.no_function_object(function, "a generator")
    if not isinstance(function, FunctionType):
        raise refusals.no_function_object(function, f"a {type(function).__name__}")
    if hasattr(function, "__wrapped__"):
        raise refusals.no_function_object(function, "which another decorator has wrapped")
    if function.__name__ == "<lambda>":
        raise refusals.no_function_object(function, "a lambda")
    return function
