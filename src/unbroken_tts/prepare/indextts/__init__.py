"""Makes features with the user's own files of IndexTTS2."""

from __future__ import annotations

from unbroken_tts.prepare.indextts.encoders import Encoders, open_encoders
from unbroken_tts.prepare.indextts.folder import IndexTtsFiles, find_files

__all__ = ["Encoders", "IndexTtsFiles", "find_files", "open_encoders"]
