"""The loop that trains is found in the source, or it is said why not."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from unbroken.errors import SettingsInvalid
from unbroken.protection.training_loop import (
    Scope,
    functions_of,
    training_loop,
    training_scope,
)


def loop_line(source: str) -> str:
    """Return what the training loop of the first function of a file is over."""
    module = ast.parse(dedent(source))
    function = next(each for each in module.body if isinstance(each, ast.FunctionDef))
    loop = training_loop(Scope(function.name, function), functions_of(module), "train.py")
    return ast.unparse(loop.iter)


def scope_name(source: str, wanted: str = "") -> str:
    """Return which scope of a script trains."""
    return training_scope(ast.parse(dedent(source)), wanted, "train.py").name


def test_the_outermost_loop_that_goes_backward() -> None:
    """Loops before it, and the loop over batches inside it, are others."""
    assert (
        loop_line(
            """
            def train():
                for each in parameters:
                    each.requires_grad_(False)
                for _ in range(warmup):
                    scheduler.step()
                with tracker:
                    for epoch in range(9):
                        for batch in loader:
                            loss(batch).backward()
                for batch in test_loader:
                    test(batch)
            """
        )
        == "range(9)"
    )


def test_what_a_loop_calls_is_looked_into() -> None:
    """The pass over the batches is often a function, or a method, of its own."""
    assert (
        loop_line(
            """
            def main():
                for name in names:
                    print(name)
                for epoch in range(1, 4):
                    train(model)

            def train(model):
                for batch in loader:
                    step(batch)

            def step(batch):
                scaler.scale(loss(batch)).backward()
            """
        )
        == "range(1, 4)"
    )
    assert (
        loop_line(
            """
            def fit(self):
                for name in names:
                    print(name)
                for epoch in trange(5):
                    self.train_epoch()

            class Trainer:
                def train_epoch(self):
                    self.manual_backward().backward()
            """
        )
        == "trange(5)"
    )


def test_the_only_loop_is_taken_where_its_functions_are_elsewhere() -> None:
    """`train_one_epoch` may be imported."""
    assert (
        loop_line(
            """
            def main():
                for epoch in range(3):
                    train_one_epoch(model, loader)
            """
        )
        == "range(3)"
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def train():\n    print(1)", "No `for` loop that trains"),
        (
            "def train():\n    for a in b: a.backward()\n    for c in d: c.backward()",
            "Several loops of train() train, in lines 2, 3",
        ),
        ("def train():\n    while True:\n        loss.backward()", "in line 2 of train.py"),
        ("def train():\n    for a in (b := c):\n        a.backward()", "is no plain `for` loop"),
    ],
)
def test_what_can_not_be_told_is_refused(source: str, found: str) -> None:
    """The message says where it is, and how to write it by hand."""
    with pytest.raises(SettingsInvalid) as error:
        loop_line(source)
    assert found in error.value.what
    assert "run.batches()" in error.value.remedy


def test_in_a_script_it_is_the_function_that_no_other_training_loop_calls() -> None:
    """`model.train()` in a loop is no call of a function `train` of the file."""
    calls_helper = """
        def train(loader):
            model.train()
            for batch in loader:
                loss(batch).backward()

        def main():
            for epoch in range(3):
                train(loader)
        """
    assert scope_name(calls_helper) == "main"
    assert scope_name("for epoch in range(3):\n    loss().backward()") == ""
    alone = """
        def train():
            for epoch in range(3):
                model.train()
                loss().backward()
        if __name__ == "__main__":
            train()
        """
    assert scope_name(alone) == "train"


def test_several_places_of_a_script_are_told_apart_by_name() -> None:
    """Then the user says which."""
    two = """
        def first():
            for a in b:
                a.backward()
        def second():
            for a in b:
                a.backward()
        """
    with pytest.raises(SettingsInvalid, match=r"first\(\), second\(\)") as error:
        scope_name(two)
    assert "--function" in error.value.remedy
    assert scope_name(two, "second") == "second"
    with pytest.raises(SettingsInvalid, match="no function 'third'"):
        scope_name(two, "third")
