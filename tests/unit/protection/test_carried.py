"""What a loop carries from round to round is read from its source."""

from __future__ import annotations

import ast
from textwrap import dedent

from unbroken.protection.carried import carried, expressions_in


def carried_by(source: str) -> tuple[list[str], dict[str, str]]:
    """Return what the first loop of a source carries between its rounds, and within one."""
    loop, *called = ast.parse(dedent(source)).body
    assert isinstance(loop, ast.For)
    found = carried(loop, called, called)
    return sorted(found.between), dict(found.within)


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
    ) == (["best", "history", "log", "seen", "self.count", "step"], {})


def test_what_each_round_writes_first_is_not_carried() -> None:
    """Nor is what only an `if` writes and nobody had before, once it is read there."""
    nothing: tuple[list[str], dict[str, str]] = ([], {})
    source = "for a in b:\n    x = f(a)\n    y = x\n    with g() as z:\n        z(y)"
    assert carried_by(source) == nothing
    assert carried_by("for a in b:\n    if a:\n        x = a\n    print(x)") == (["x"], {})


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
    ) == ([], {"total": ""})


def test_tensors_that_are_changed_in_place_are_carried() -> None:
    """By methods with an underscore, also through what an inner loop is over."""
    assert carried_by(
        """
        for batch in loader:
            mean.mul_(0.9).add_(batch)
            for e, p in zip(shadow, model.parameters()):
                e.lerp_(p, 0.1)
            p.requires_grad_(False)
        """
    ) == (["mean", "model.parameters", "shadow", "zip"], {})


def test_what_it_calls_in_the_same_file_is_read_as_well() -> None:
    """Counters by `global` and `nonlocal`, the sum of an epoch, a list of the module."""
    assert carried_by(
        """
        for epoch in range(3):
            train(model)

        def train(model):
            global step
            total = 0.0
            for batch in loader:
                total += f(batch)
                step += 1
                log.append(total)
                local = []
                local.append(1)
            return total
        """
    ) == (["log", "step"], {"total": "train"})


def test_a_loop_that_counts_its_batches_itself_is_told() -> None:
    """It counts anew where an epoch is resumed in its middle."""
    source = "for epoch in range(3):\n    for b in {}:\n        f(b)"
    for over in ("islice(loader, 6)", "zip(range(6), loader)"):
        assert carried_by(source.format(over)) == ([], {over: ""})
    assert carried_by(source.format("zip(loader, other)")) == ([], {})


def test_functions_inside_have_names_of_their_own() -> None:
    """And comprehensions."""
    source = "for a in b:\n    def f():\n        c = 1\n    d = [e for e in a]\n    g = lambda h: h"
    assert carried_by(source) == ([], {})


def test_expressions_are_told_in_the_order_of_the_code() -> None:
    """What is only asked for its length is left out."""
    code = ast.parse("for a in tqdm(self.loader, total=len(other)): f(b.c, d)")
    assert expressions_in(code) == ["a", "tqdm", "self.loader", "f", "b.c", "d"]
