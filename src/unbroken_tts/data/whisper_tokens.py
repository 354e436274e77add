"""The special tokens of IndexTTS-2.5's vocabulary, and its languages.

Names, order and pattern are those of `get_encoding` in indextts/utils/tokenizer.py of
index-tts/index-tts (2.5), which took them from Whisper. The ids follow those of the vocabulary file, so
they depend on its number of tokens; 1,673 they are always.
"""

from __future__ import annotations

from typing import Final

PATTERN: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What a text is cut at before tokens are looked for, as in GPT-2."""
VOCABULARY_FILE: Final = "multilingual_zh_ja_yue_char_del.tiktoken"
"""The name under which the program looks for the vocabulary in its folder."""

_LANGUAGES: Final = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg
lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so
af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
"""
LANGUAGES: Final = tuple(_LANGUAGES.split())
"""The 99 languages that have a token, by the number of their row in the language table.

The table goes on with `yue`, `minnan`, `wuyu`, `dialect`, `zh/en`, `en/zh` and `common`, for which there
is no token: a text can't say that it is in one of these.
"""

_EVENTS: Final = (
    "ASR AED SER Speech /Speech BGM /BGM Laughter /Laughter Applause /Applause "
    "HAPPY SAD ANGRY NEUTRAL "
    "translate transcribe startoflm startofprev nospeech notimestamps"
)
_VOCAL: Final = "B O Q A CO CL H"
SPECIAL_TOKENS: Final = tuple(
    f"<|{name}|>"
    for name in (
        "endoftext",
        "startoftranscript",
        *LANGUAGES,
        *_EVENTS.split(),
        *(f"SPECIAL_TOKEN_{number}" for number in range(1, 31)),
        *(f"TTS/{name}" for name in _VOCAL.split()),
        *(f"TTS/SP{number:02d}" for number in range(1, 14)),
        *(f"{number * 0.02:.2f}" for number in range(1501)),
    )
)
"""All special tokens, in the order of their ids."""
NEVER_READ: Final = frozenset({0, 1})
"""Ids that the program leaves out of every text, as they are the model's start and stop
(`prepare_gpt_inputs` in indextts/gpt/model_v2.py); in the published vocabulary `!` and `"` have them."""
BEFORE_LANGUAGES: Final = SPECIAL_TOKENS.index("<|en|>")
"""Special tokens before that of the first language."""
