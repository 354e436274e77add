"""What a loop carries from round to round is read from its source."""

from __future__ import annotations

import ast
from textwrap import dedent

from unbroken.protection.carried import carried, expressions_in


def carried_by(source: str) -> dict[str, bool]:
    """Return what the first loop of a source carries."""
    loop = ast.parse(dedent(source)).body[0]
    assert isinstance(loop, ast.For)
    return carried(loop)


def test_what_is_read_before_it_is_written_is_carried() -> None:
    """A best score, a counter, a list that grows, an attribute."""
    assert carried_by(
        """
        for epoch in range(3):
            loss = compute()
            if loss < best:
                best = loss
            step += 1
            history.append(loss)
            seen[epoch] = loss
            self.count += 1
            print(loss, file=log)
            log.write("x")
        """
    ) == dict.fromkeys(["best", "history", "log", "seen", "self.count", "step"], False)


def test_what_each_round_writes_first_is_not_carried() -> None:
    """Nor is what only an `if` writes and nobody had before, once it is read there."""
    assert (
        carried_by("for a in b:\n    x = f(a)\n    y = x\n    with g() as z:\n        z(y)") == {}
    )
    assert "x" in carried_by("for a in b:\n    if a:\n        x = a\n    print(x)")


def test_a_sum_of_the_epoch_is_carried_by_the_loop_inside() -> None:
    """A start inside the epoch begins it anew."""
    assert carried_by(
        """
        for epoch in range(3):
            total = 0.0
            for batch in loader:
                total += f(batch)
            mean = total / 3
        """
    ) == {"total": True}


def test_functions_inside_have_names_of_their_own() -> None:
    """And comprehensions."""
    source = "for a in b:\n    def f():\n        c = 1\n    d = [e for e in a]\n    g = lambda h: h"
    assert carried_by(source) == {}


def test_expressions_are_told_in_the_order_of_the_code() -> None:
    """What is only asked for its length is left out."""
    code = ast.parse("for a in tqdm(self.loader, total=len(other)): f(b.c, d)")
    assert expressions_in(code) == ["a", "tqdm", "self.loader", "f", "b.c", "d"]
