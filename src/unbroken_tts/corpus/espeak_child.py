"""The process in which espeak-ng speaks: `python -m unbroken_tts.corpus.espeak_child JOB.json`.

espeak-ng's pseudo-random generator can't be reset, so a sentence spoken twice in a process differs
by a few samples. A fresh process with the same calls in the same order gives the same bytes, so
speech is made in a child process that does one job file in its order and exits.

Licence: espeak-ng is GPL-3.0-or-later. It is an optional extra (`pip install unbroken[demo]`), it is
called only from this separate process, and nothing of it is part of this package.

The job file is `{"speech": [{"voice", "rate", "text", "path"}], "phonemes": [{"voice", "text"}],
"phonemes_path": str}`. One line `done N` per finished item goes to standard output.
"""

from __future__ import annotations

import ctypes
import json
import sys
import wave
from pathlib import Path
from typing import Any

SAMPLE_RATE = 22_050
"""Samples per second of everything espeak-ng says; 16 bit, mono."""
EXIT_WITHOUT_ESPEAK = 3
"""Exit status when the `espeakng_loader` wheel is not installed."""

_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_CHARACTERS_UTF8 = 1
_BY_CHARACTER = 1
_RATE_PARAMETER = 1
_PHONEMES_AS_IPA = 0x02
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """Synthesises speech into memory with the shared library of espeak-ng.

    Args:
        library_path: The shared library.
        data_path: The directory of its voice data.

    Raises:
        RuntimeError: The library could not start, or speaks at another rate.
    """

    def __init__(self, library_path: str, data_path: str) -> None:
        self._library = ctypes.CDLL(library_path)
        self._declare()
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), _DO_NOT_EXIT)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng started with {rate} samples per second")
        self._pieces: list[bytes] = []
        # ctypes does not keep the callback alive; the attribute does.
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _declare(self) -> None:
        library = self._library
        library.espeak_Initialize.argtypes = [
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
        ]
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        library.espeak_TextToPhonemes.argtypes = [
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.c_int,
            ctypes.c_int,
        ]
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def _receive(self, samples: Any, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, count * 2))
        return 0

    def use_voice(self, voice: str) -> None:
        """Choose a voice such as `am` or `am+f3`.

        Raises:
            RuntimeError: espeak-ng has no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")

    def speak(self, text: str, rate: int) -> bytes:
        """Return `text` as 16-bit little-endian mono samples at 22,050 Hz.

        Args:
            text: What to say.
            rate: Words per minute, 80 to 450.

        Raises:
            RuntimeError: espeak-ng refused the text.
        """
        self._pieces = []
        self._library.espeak_SetParameter(_RATE_PARAMETER, rate, 0)
        data = text.encode() + b"\0"
        status = self._library.espeak_Synth(
            data, len(data), 0, _BY_CHARACTER, 0, _CHARACTERS_UTF8, None, None
        )
        if status != 0 or self._library.espeak_Synchronize() != 0:
            raise RuntimeError(f"espeak-ng could not say {text!r}")
        return b"".join(self._pieces)

    def phonemes(self, text: str) -> str:
        """Return `text` in the International Phonetic Alphabet, one line per clause."""
        pointer = ctypes.c_char_p(text.encode())
        clauses: list[str] = []
        while pointer.value:
            spoken = self._library.espeak_TextToPhonemes(
                ctypes.byref(pointer), _CHARACTERS_UTF8, _PHONEMES_AS_IPA
            )
            clauses.append((spoken or b"").decode())
        return "\n".join(clauses)


def _write_wave(path: Path, samples: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples)


def run_job(job: dict[str, Any], espeak: Espeak) -> None:
    """Do one job in its order: first all speech, then all phonemes."""
    for done, item in enumerate(job.get("speech", []), start=1):
        espeak.use_voice(item["voice"])
        _write_wave(Path(item["path"]), espeak.speak(item["text"], item["rate"]))
        sys.stdout.write(f"done {done}\n")
        sys.stdout.flush()
    phonemes = []
    for item in job.get("phonemes", []):
        espeak.use_voice(item["voice"])
        phonemes.append(espeak.phonemes(item["text"]))
    if phonemes:
        text = json.dumps(phonemes, ensure_ascii=False)
        Path(job["phonemes_path"]).write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str]) -> int:
    """Do the job named on the command line; return the exit status."""
    try:
        import espeakng_loader  # noqa: PLC0415 - an optional extra
    except ImportError:
        return EXIT_WITHOUT_ESPEAK
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    run_job(job, Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
