"""Codecs between sound and codes; `load_codec(directory)` reads any of them."""

from __future__ import annotations

from unbroken_tts.prepare.codec.codec import Codec, EncodeOnly
from unbroken_tts.prepare.codec.registry import load_codec, register_codec

__all__ = ["Codec", "EncodeOnly", "load_codec", "register_codec"]
