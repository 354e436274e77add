"""The errors of a training that can't be protected as it is written, each with the way that works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from unbroken.errors import RunMisused, SettingsInvalid

_BY_HAND: Final = (
    "Write `for epoch in run.epochs(n):` and `for batch in run.batches():` yourself: docs/library.md, "
    '"Keep your loop".'
)
_NOT_KNOWN: Final = "Only its loop says where a start has to go on. Nothing was written."


def no_directory(given: object) -> SettingsInvalid:
    """Return the error of `@protect` without a directory."""
    return SettingsInvalid(
        f"unbroken.protect() was given {given!r} as its directory.",
        "The checkpoints need a place.",
        'Write @unbroken.protect("out") above the function that trains.',
    )


def no_function_object(given: object, kind: str) -> SettingsInvalid:
    """Return the error of `protect` on something else than a plain function."""
    return SettingsInvalid(
        f"unbroken.protect() was put on {given!r}, {kind}.",
        _NOT_KNOWN,
        "Put it on the plain function that has the loop, below all other decorators. Otherwise: "
        + _BY_HAND,
    )


def no_source(name: str, error: Exception | None) -> SettingsInvalid:
    """Return the error of a function whose source isn't to be had."""
    told = f": {error}" if error else ""
    return SettingsInvalid(
        f"The source of {name}() can't be read{told}.",
        "Its loop is found in the source. Nothing was written.",
        "Define it in a file. Otherwise: " + _BY_HAND,
    )


def no_python(file: str, error: SyntaxError) -> SettingsInvalid:
    """Return the error of a script that Python can't read."""
    return SettingsInvalid(
        f"{file}, line {error.lineno}: {error.msg}.",
        "Python can't run it.",
        "Correct it.",
    )


def no_loop(name: str, where: str) -> SettingsInvalid:
    """Return the error of code in which no loop trains."""
    return SettingsInvalid(
        f"No `for` loop that trains was found in {_named(name)} ({where}).",
        _NOT_KNOWN,
        "Put @unbroken.protect on the function that has the loop over the epochs; for a Trainer of "
        "transformers, Lightning or Accelerate see docs/frameworks.md. Otherwise: " + _BY_HAND,
    )


def several_loops(name: str, where: str, lines: Sequence[int]) -> SettingsInvalid:
    """Return the error of code in which several loops train."""
    return SettingsInvalid(
        f"Several loops of {_named(name)} train, in lines {', '.join(map(str, lines))} of {where}.",
        "Each would need a directory of its own. Nothing was written.",
        "Put each loop into a function of its own, with @unbroken.protect and a directory of its own. "
        "Otherwise: " + _BY_HAND,
    )


def no_for_loop(name: str, where: str, line: int) -> SettingsInvalid:
    """Return the error of a training in a `while` loop."""
    return SettingsInvalid(
        f"The loop of {_named(name)} that trains, in line {line} of {where}, is no plain `for` loop.",
        "How far it is stands in variables that no checkpoint has. Nothing was written.",
        "Write it as `for epoch in range(n):`. Otherwise: " + _BY_HAND,
    )


def no_function(wanted: str, where: str, known: Sequence[str]) -> SettingsInvalid:
    """Return the error of a function that a script doesn't have."""
    listed = ", ".join(known) or "none"
    return SettingsInvalid(
        f"{where} has no function {wanted!r}; it has {listed}.",
        _NOT_KNOWN,
        "Name one of these, or none, so that it is looked for.",
    )


def no_one_function(where: str, names: Sequence[str]) -> SettingsInvalid:
    """Return the error of a script with no training loop of its own, or several."""
    if not names:
        return no_loop("", where)
    listed = ", ".join(f"{name}()" if name else "the script itself" for name in names)
    return SettingsInvalid(
        f"Several places of {where} have a loop that trains: {listed}.",
        _NOT_KNOWN,
        "Say which one: unbroken run --function NAME.",
    )


def no_loader(data: str, found: Sequence[str]) -> SettingsInvalid:
    """Return the error of a loader that isn't among the variables, or isn't the only one."""
    listed = ", ".join(found) or "no loader"
    if data:
        return SettingsInvalid(
            f"data={data!r} names nothing that can be looped over; found were {listed}.",
            _NOT_KNOWN,
            "Give the name of the loader as the function calls it, such as 'train_loader' or "
            "'self.loader'.",
        )
    return SettingsInvalid(
        f"Several loaders may be the one that trains: {listed}.",
        _NOT_KNOWN,
        f"Say which one: data={found[0]!r}.",
    )


def no_optimizer() -> SettingsInvalid:
    """Return the error of a loop before which nothing was built that trains."""
    return SettingsInvalid(
        "No optimizer was found in the variables of the function that trains.",
        "Nothing says what is trained. Nothing was written.",
        "Build model and optimizer before the loop. Otherwise: " + _BY_HAND,
    )


def belongs_to_framework(name: str, adapter: str) -> SettingsInvalid:
    """Return the error of a loop with an object of a framework that has an adapter."""
    return SettingsInvalid(
        f"{name} belongs to a framework that has state of its own.",
        "Some of it would be in no checkpoint. Nothing was written.",
        f"Use unbroken.integrations.{adapter}.protect instead: docs/frameworks.md.",
    )


def second_call(name: str, directory: object) -> RunMisused:
    """Return the error of a function that is called again while, or after, it trained."""
    return RunMisused(
        f"{name}() was called a second time with the run of {directory}.",
        "It would go on from what the first call has trained.",
        f'Give each call a directory of its own: unbroken.protect("out-2")({name})(...).',
    )


def second_loop(name: str) -> RunMisused:
    """Return the error of a loop that is begun again in one call."""
    return RunMisused(
        f"The loop of {name} that trains was begun a second time.",
        "Each would need a directory of its own.",
        "Put it into a function of its own, with @unbroken.protect. Otherwise: " + _BY_HAND,
    )


def kept_iterator(name: str) -> RunMisused:
    """Return the error of an iterator over a loader that outlives a round of the loop."""
    return RunMisused(
        f"An iterator over a loader is kept from one round of the loop to the next: {name}.",
        "Which batch comes next stands in a variable that no checkpoint has.",
        "Loop over the loader inside of each round. Otherwise: " + _BY_HAND,
    )


def second_pass(loader: str) -> RunMisused:
    """Return the error of a second training over the loader in one round of the loop."""
    return RunMisused(
        f"The loop goes through {loader} a second time in one round, with gradients.",
        "A round is one epoch of the run, whose batches are handed out.",
        "Measure under torch.no_grad() and after model.eval(); or let each pass be a round.",
    )


def replaced(name: str) -> RunMisused:
    """Return the error of a model or an optimizer that the loop replaces."""
    return RunMisused(
        f"{name} was replaced by another object inside the loop.",
        "The run saves the one that was there when it began. From here on no checkpoint would hold what is "
        "trained.",
        "Build it before the loop, once. Otherwise: " + _BY_HAND,
    )


def built_inside(optimizer: object) -> RunMisused:
    """Return the error of updates by an optimizer that the loop has built."""
    return RunMisused(
        f"An optimizer that was not there when the loop began makes updates: {type(optimizer).__name__}.",
        "Neither its state nor what it trains is in a checkpoint.",
        "Build it before the loop. Otherwise: " + _BY_HAND,
    )


def loader_built_inside(name: str, loader: str) -> SettingsInvalid:
    """Return the error of a loop that builds the loader that it trains on, beside one that is there."""
    return SettingsInvalid(
        f"The loop trains on {name}, which it builds itself; before it only {loader} is there.",
        "Its order is not known when a start goes on. Nothing was written.",
        f"Build {name} before the loop. Otherwise: " + _BY_HAND,
    )


def nothing_trained(loader: str) -> RunMisused:
    """Return the error of a round that asked for no batch."""
    return RunMisused(
        f"A round of the loop ended, and it has read no batch of {loader} to train on.",
        "Its samples, or those of another loader, would not be counted.",
        "Name the loader that it trains on: data='...'. Otherwise: " + _BY_HAND,
    )


def trained_elsewhere(read: str, loader: str) -> RunMisused:
    """Return the error of an update on batches of a loader that isn't the run's."""
    return RunMisused(
        f"The loop trains on batches of {read}, and the run counts those of {loader}.",
        "A start would train on some of them twice, or never. This update was not made.",
        f"Name the loader that it trains on, data={read!r}, or build it before the loop. Otherwise: "
        + _BY_HAND,
    )


def read_along(read: str, loader: str) -> RunMisused:
    """Return the error of a loader that is read along with the run's, batch by batch."""
    return RunMisused(
        f"{read} is read along with {loader}, a batch at a time.",
        "Its place is in no checkpoint: a start would pair other batches.",
        "Read both in one data set. Otherwise: " + _BY_HAND,
    )


def _named(name: str) -> str:
    return f"{name}()" if name else "the script"
