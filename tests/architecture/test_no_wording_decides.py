"""No code decides by a sentence that was made for a person: what differs is data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

SENTENCES = {
    "advice",
    "alarm",
    "because",
    "details",
    "headline",
    "numbers",
    "reason",
    "remedy",
    "says",
    "sentence",
    "text",
    "title",
    "what",
    "why",
}
"""Fields of findings, verdicts, clues, remarks and errors that hold a sentence, or several."""
RESULTS = {"check", "clue", "each", "error", "finding", "found", "remark", "verdict"}
"""What such a field is read from; a `text` of another object may be anything."""
READERS = {
    *("startswith", "endswith", "removeprefix", "removesuffix"),
    *("partition", "rpartition", "split", "rsplit", "find", "index", "count"),
}
"""Methods of text that look for wording."""
PATTERNS = {"match", "search", "fullmatch", "findall", "finditer"}

OTHERS: dict[str, str] = {
    # PyTorch raises a plain RuntimeError where some of its allocators have no room.
    "src/unbroken_tts/train/halving.py": "each in str(error)",
}
"""Sentences of other libraries that say nothing as data."""


def decisions(tree: ast.AST) -> Iterator[str]:
    """Yield each place of a module where the wording of a sentence is looked at."""
    bound = set(_bound_to_sentences(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            on, name = node.func.value, node.func.attr
            reads = name in READERS and _is_sentence(on, bound) and not _is_layout(node.args)
            matches = name in PATTERNS and any(_is_sentence(each, bound) for each in node.args)
            if reads or matches:
                yield f"{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
                if isinstance(operator, ast.Eq | ast.NotEq):
                    pair = ((left, right), (right, left))
                    is_decision = any(_is_sentence(a, bound) and _is_words(b) for a, b in pair)
                else:  # `in` looks for words
                    is_decision = _is_sentence(right, bound)
                if is_decision:
                    yield f"{node.lineno}: {ast.unparse(node)}"


def _bound_to_sentences(tree: ast.AST) -> Iterator[str]:
    """Yield names that stand for sentences: `for each in found.details`, `told = str(error)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.comprehension | ast.For):
            target, value = node.target, node.iter
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        else:
            continue
        if isinstance(target, ast.Name) and _is_sentence(value, set()):
            yield target.id


def _is_sentence(node: ast.expr, bound: set[str]) -> bool:
    """Say whether an expression is a sentence, or made of one by cutting or joining."""
    if isinstance(node, ast.Attribute):
        owner = node.value
        name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        return node.attr in SENTENCES and (name in RESULTS or node.attr in {"headline", "sentence"})
    if isinstance(node, ast.Name):
        return node.id in bound or node.id in {"headline", "sentence"}
    if isinstance(node, ast.Call):
        is_text = isinstance(node.func, ast.Name) and node.func.id in {"str", "sentence", "_flat"}
        of = [getattr(each, "id", "") for each in node.args]
        is_result = is_text and bool({"error", "verdict", "finding", "clue"} & set(of))
        return is_result or (is_text and any(_is_sentence(each, bound) for each in node.args))
    return isinstance(node, ast.Subscript) and _is_sentence(node.value, bound)


def _is_layout(arguments: list[ast.expr]) -> bool:
    """Say whether text is cut at blanks or line ends alone: that shows it, and decides nothing."""
    return all(isinstance(each, ast.Constant) and not str(each.value).strip() for each in arguments)


def _is_words(node: ast.expr) -> bool:
    """Say whether an expression is text that is written in the code; empty text is none."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(node.value)
    return isinstance(node, ast.JoinedStr)


def test_no_code_decides_by_the_wording_of_a_sentence() -> None:
    """Findings, verdicts, clues and errors are told apart by their fields."""
    found = {
        path.relative_to(ROOT).as_posix(): places
        for path in SOURCES
        if (places := [*decisions(ast.parse(path.read_text(encoding="utf-8")))])
    }
    found = {
        name: ours
        for name, places in found.items()
        if (ours := [each for each in places if each.partition(": ")[2] != OTHERS.get(name)])
    }
    assert {} == found


@pytest.mark.parametrize(
    "code",
    [
        "finding.numbers.startswith('journal')",
        "any(each.startswith('data.train ') for each in verdict.details)",
        "'% mark' in clue.sentence",
        "UPDATE in sentence",
        "'empty' not in str(error)",
        "re.search('step (.*)', error.what)",
        "told = str(error)\nif told.endswith('gone'): pass",
        "if finding.headline == 'CRITICAL: LR mismatch': pass",
        "sentence(finding).partition(' (')",
    ],
)
def test_the_rule_sees_a_decision(code: str) -> None:
    """Each of these was, or could have been, written here."""
    assert 1 == len([*decisions(ast.parse(code))])


@pytest.mark.parametrize(
    "code",
    [
        "finding.headline or finding.numbers",
        "if finding.id in accepted: pass",
        "any(each.path == JOURNAL for each in finding.differences)",
        "if verdict.cause is DivergenceCause.UPDATE: pass",
        "if clue.sentence != other.sentence: pass",
        "if not finding.headline or finding.headline == '': pass",
        "path.endswith('.lr')",
        "' '.join(str(error).split())",
        "str(error).partition('\\n')[0]",
    ],
)
def test_the_rule_lets_data_and_rendering_pass(code: str) -> None:
    """What is read from a field that is no sentence, or shows one, is no decision by wording."""
    assert [] == [*decisions(ast.parse(code))]
