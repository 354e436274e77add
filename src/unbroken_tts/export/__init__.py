"""Exports trained weights: a `gpt.pth` with the keys and shapes of inference, or a whole folder."""

from __future__ import annotations

from unbroken_tts.export.tensors import merge, write_gpt_pth

__all__ = ["merge", "write_gpt_pth"]
