"""Errors of foreign code, raised while a part says or takes its state: they name the part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unbroken.errors import NotEncodable, StateMismatch, UnbrokenError


@contextmanager
def while_saving(part: str) -> Iterator[None]:
    """Turn whatever an object's `state_dict()` raises into an error of the library.

    Raises:
        NotEncodable: It raised.
    """
    try:
        yield
    except UnbrokenError:
        raise
    except Exception as error:
        raise NotEncodable(
            f"The state_dict() of {part!r} failed: {type(error).__name__}: {error}",
            "Its state can't be saved, and would be lost at the first stop.",
            "Correct its state_dict(); the error above this one shows where it failed.",
        ) from error


@contextmanager
def while_loading(part: str) -> Iterator[None]:
    """Turn whatever an object raises that takes its state into an error of the library.

    Raises:
        StateMismatch: It raised.
    """
    try:
        yield
    except UnbrokenError:
        raise
    except Exception as error:
        raise StateMismatch(
            f"{part!r} did not take its saved state: {type(error).__name__}: {error}",
            "The objects are restored in part, and refuse to train; the checkpoint is untouched.",
            "Build the part as it was when it was saved, or correct its load_state_dict(); the error "
            "above this one shows where it failed.",
        ) from error
