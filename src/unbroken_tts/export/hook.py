"""Puts the text front end of a training into the inference program; part of the exported file.

Only the standard library is used, as the file stands beside the weights without this project.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

from unbroken_tts.prepare.normalisation import normalise

LANGUAGES: tuple[str, ...] = ("am",)
"""Languages of the training; the export fills them in."""


def language_of(text: str, languages: tuple[str, ...] = LANGUAGES) -> str:
    """Return the language of the training by whose rules a text is read.

    With several languages, text with Ethiopic letters is Amharic, and other text the first other one.
    """
    is_ethiopic = any("\u1200" <= character <= "\u137f" for character in text)
    fitting = [each for each in languages if (each.split("-")[0] == "am") == is_ethiopic]
    return (fitting or list(languages) or ["am"])[0]


def spoken_form(text: str, languages: tuple[str, ...] = LANGUAGES) -> str:
    """Return what the tokenizer encodes for a text: what the training read."""
    return normalise(text, language_of(text, languages))


def install(module: Any = None) -> None:
    """Make the inference program encode texts as the training did.

    Args:
        module: The program's `indextts.utils.front`; None imports it.
    """
    front = module or importlib.import_module("indextts.utils.front")

    def encode(self: Any, text: str, *_more: Any, **options: Any) -> Any:
        options.pop("language", None)
        return self.sp_model.Encode(spoken_form(text), **{"out_type": int, **options})

    def batch_encode(self: Any, texts: list[str], *_more: Any, **options: Any) -> Any:
        options.pop("language", None)
        every = [spoken_form(text) for text in texts]
        return self.sp_model.Encode(every, **{"out_type": int, **options})

    def normalize(_self: Any, text: str | None, *_more: Any, **_options: Any) -> str:
        return spoken_form(text or "")

    front.TextTokenizer.encode = encode
    front.TextTokenizer.batch_encode = batch_encode
    front.TextNormalizer.normalize = normalize


def main(arguments: list[str]) -> None:
    """Run a program of IndexTTS2 with this front end, or show what it makes of a text.

    Args:
        arguments: A Python file and its own arguments, or texts.
    """
    if arguments and arguments[0].endswith(".py"):
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        try:
            install()
        except ModuleNotFoundError as error:
            sys.exit(
                f"{error}. Run this file with the Python of IndexTTS2, in the folder that contains "
                f"{arguments[0]}: it loads the program and puts the text front end in."
            )
        runpy.run_path(arguments[0], run_name="__main__")
        return
    for text in arguments or sys.stdin.read().splitlines():
        sys.stdout.write(f"{spoken_form(text)}\n")
