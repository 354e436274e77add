"""Checks that texts for IndexTTS-2.5 begin with the token of a language.

The model takes the language of a sample from its first text id. Any id is one of its vocabulary, so
nothing else would notice texts without such a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unbroken import DataInvalid
from unbroken_tts.data.npy import ArrayUnusable, read_array
from unbroken_tts.data.tokenizer_match import spread

if TYPE_CHECKING:
    from unbroken_tts.data.pairs import Pairs
    from unbroken_tts.data.tokenizer import Tokenizer


def check_language_tokens(pairs: Pairs, tokenizer: Tokenizer) -> None:
    """Look at the first id of some texts, evenly spread over the manifests.

    Args:
        pairs: Samples, preferably checked.
        tokenizer: Theirs; nothing is asked of one without tokens of languages.

    Raises:
        DataInvalid: A text begins with another id; the first such is named.
    """
    first = tokenizer.first_language_id
    languages = range(first, first + len(tokenizer.languages))
    for index in spread(pairs) if languages else ():
        try:
            array, _ = read_array(pairs.text_paths[index])
        except ArrayUnusable:
            continue  # the preflight reports it
        ids = array.reshape(-1)
        if ids.size and int(ids[0]) not in languages:
            raise DataInvalid(
                f"{pairs.where(index)}: the text begins with the id {int(ids[0])}, which is no "
                f"language of the tokenizer {tokenizer.path}.",
                "The model takes the language from the first id; here it would take a row of another.",
                "Prepare the texts with --front indextts-2.5, which puts it there.",
            )
